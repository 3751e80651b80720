"""Lines are written in a thread; a reader that stands still stops nothing."""

import io
import logging
import os
import threading

import pytest

from predictor.logs import LineLimit, LogWriter
from predictor.metrics import LOG_LINES_DROPPED
from tests.deadlines import DEADLINE_S


class Gate(io.StringIO):
    """A stream whose writes wait until it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()

    def write(self, text: str) -> int:
        self.open.wait(DEADLINE_S)
        return super().write(text)


def record(
    name: str = "a", message: str = "x", extra: dict[str, str] | None = None
) -> logging.LogRecord:
    return logging.getLogger(name).makeRecord(
        name, logging.WARNING, __file__, 1, message, (), None, extra=extra
    )


def dropped(reason: str) -> float:
    value: float = LOG_LINES_DROPPED.labels(reason)._value.get()
    return value


def test_a_reader_that_stands_still_stops_nothing_and_lines_are_counted() -> None:
    stream = Gate()
    writer = LogWriter(stream, max_characters=1000)
    before = dropped("queue_full")
    for _ in range(1000):
        writer.emit(record(message="y" * 9))
    assert dropped("queue_full") == before + 900
    writer.flush(timeout_s=0.01)  # does not wait for ever
    stream.open.set()
    writer.flush()
    assert stream.getvalue() == ("y" * 9 + "\n") * 100
    writer.emit(record(message="again"))
    writer.flush()
    assert stream.getvalue().endswith("again\n")


def test_lines_keep_their_order() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream)
    for number in range(1000):
        writer.emit(record(message=str(number)))
    writer.flush()
    assert stream.getvalue().split() == [str(number) for number in range(1000)]


def test_a_forked_child_writes_at_once() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w", buffering=1) as stream, os.fdopen(reading) as reader:
        writer = LogWriter(stream)
        writer._after_fork()  # what the child of a fork runs
        writer.emit(record(message="from the child"))
        assert reader.readline() == "from the child\n"
        assert writer._thread is None


def test_a_closed_stream_is_no_error() -> None:
    stream = io.StringIO()
    writer = LogWriter(stream)
    stream.close()
    writer.emit(record())
    writer.flush()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("predictor.logs.limit.time.monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("uvicorn.error", {}),
        ("grpc._cython.cygrpc", {}),
        ("predictor.server.http.connection.protocol", {}),
        ("predictor.server.inference", {"request_id": "r-1"}),
    ],
)
def test_lines_that_clients_can_cause_are_limited_and_counted(
    clock: list[float], name: str, extra: dict[str, str]
) -> None:
    limit = LineLimit()
    before = dropped("rate")
    written = [limit.filter(record(name, extra=extra)) for _ in range(1000)]
    assert sum(map(bool, written)) == 20
    assert dropped("rate") == before + 980
    clock[0] += 1.0
    late = record(name, extra=extra)
    assert limit.filter(late)
    assert vars(late)["skipped"] == 980
    assert not limit.filter(record(name, extra=extra))


@pytest.mark.parametrize("name", ["predictor.repository.loader", "predictor.access"])
def test_other_lines_are_not_limited(clock: list[float], name: str) -> None:
    limit = LineLimit()
    assert all(limit.filter(record(name)) for _ in range(1000))
