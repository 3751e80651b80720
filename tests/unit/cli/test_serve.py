"""What `predictor serve` says before the server starts."""

import argparse
import json
import logging

import pytest

from predictor import logs
from predictor.cli import serve
from predictor.settings import Settings

LINKS = {"PREDICTOR_ADMIN_PORT": "tcp://10.96.0.7:80", "PREDICTOR_ADMIN_SERVICE_HOST": "10.96.0.7"}


@pytest.fixture(autouse=True)
def root_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put back what `logs.configure` changes."""
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(logging.getLogger(), "level", logging.WARNING)


def test_links_to_a_service_are_ignored_with_one_warning_that_names_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in LINKS.items():
        monkeypatch.setenv(name, value)
    served: list[Settings] = []
    monkeypatch.setattr("predictor.server.app.serve", served.append)
    serve.run(argparse.Namespace(command="serve", run=serve.run, log_format="json"))
    (writer,) = logging.getLogger().handlers
    writer.flush()  # it writes in a thread
    (line,) = capfd.readouterr().err.splitlines()
    event = json.loads(line)
    assert event["level"] == "warning"
    assert event["variables"] == sorted(LINKS)
    assert "enableServiceLinks: false" in event["message"]
    assert [settings.access.admin_port for settings in served] == [Settings().access.admin_port]


def test_without_links_nothing_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "info")
    serve.warn_of_links([])
    assert capsys.readouterr().err == ""
