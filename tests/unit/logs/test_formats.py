"""Both formats, and that fields arrive."""

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from predictor import logs
from predictor.settings import ServerSettings


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
    writer = logs.configure("json", "info")
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("a.b").exception("it %s", "failed", extra={"rows": 7})
    writer.flush()
    event = json.loads(capsys.readouterr().err)
    assert event["message"] == "it failed"
    assert event["level"] == "error"
    assert event["rows"] == 7
    assert "ValueError: x" in event["exception"]
    assert event["time"].endswith("+00:00")


def test_text_is_one_readable_line(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = logs.configure("text", "info")
    logging.getLogger("a").info("listening", extra={"http": 8080})
    writer.flush()
    assert "INFO    listening http=8080" in capsys.readouterr().err


def test_the_level_is_kept(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    writer = logs.configure("json", "warning")
    logging.getLogger("a").info("no")
    writer.flush()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize("level", ["info", "debug"])
def test_the_error_of_a_request_quotes_nobody(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], log_format: str, level: str
) -> None:
    writer = logs.configure(log_format, level)
    try:
        try:
            raise KeyError("a user's text")
        except KeyError as error:
            raise ValueError("could not read: a user's text") from error
    except ValueError:
        logging.getLogger("a").exception("request failed", extra={"request_id": "r1"})
    writer.flush()
    written = capsys.readouterr().err
    assert "request failed" in written
    assert "r1" in written
    assert "ValueError" in written
    assert "KeyError" in written
    assert "test_formats.py" in written
    # Who sets the level to debug wants to see it. The lines of the test itself quote it, too.
    quoted = written.count("could not read: a user's text") > 1
    assert quoted == (level == "debug")


def test_a_terminal_gets_text_and_everything_else_json(
    root: logging.Logger, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ServerSettings().log_format == "auto"
    for is_terminal in (False, True):
        monkeypatch.setattr(sys.stderr, "isatty", lambda answer=is_terminal: answer)
        writer = logs.configure("auto", "info")
        logging.getLogger("a").info("listening", extra={"http": 8080})
        writer.flush()
        written = capsys.readouterr().err
        assert written.startswith("{") != is_terminal
        assert ("listening http=8080" in written) == is_terminal
