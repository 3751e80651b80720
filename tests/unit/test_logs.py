"""Both formats, and that fields arrive."""

import json
import logging
from collections.abc import Iterator

import pytest

from predictor import logs


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    monkeypatch.setattr(logger, "handlers", [])
    level = logger.level
    yield logger
    logger.setLevel(level)


def test_json_holds_the_fields_and_the_trace(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("json", "info")
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("a.b").exception("it %s", "failed", extra={"request_id": "r1"})
    event = json.loads(capsys.readouterr().err)
    assert event["message"] == "it failed"
    assert event["level"] == "error"
    assert event["request_id"] == "r1"
    assert "ValueError: x" in event["exception"]
    assert event["time"].endswith("+00:00")


def test_text_is_one_readable_line(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("text", "info")
    logging.getLogger("a").info("listening", extra={"http": 8080})
    assert "INFO    listening http=8080" in capsys.readouterr().err


def test_the_level_is_kept(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "warning")
    logging.getLogger("a").info("no")
    assert capsys.readouterr().err == ""
