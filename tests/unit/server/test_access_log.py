"""A line a request, but never a flood, and never fewer than the faults."""

import logging

import pytest

from predictor.server import access_log
from predictor.server.access_log import AccessLog
from predictor.timeline import Timeline


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(access_log, "time", clock)
    return clock


def write(log: AccessLog, status: int = 200) -> None:
    log.write("r-1", status, 0.0123, Timeline(queue=0.001, run=0.01), model="m", version="2")


def test_a_line_says_who_and_how_long(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        write(AccessLog(10))
    (record,) = caplog.records
    fields = vars(record)
    assert (fields["request_id"], fields["status"], fields["ms"]) == ("r-1", 200, 12.3)
    assert (fields["queue_ms"], fields["run_ms"]) == (1.0, 10.0)
    assert (fields["model"], fields["version"]) == ("m", "2")
    assert "skipped" not in fields


def test_lines_a_second_are_bounded_and_counted(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(10)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):  # one second, a thousand requests
            write(log)
            clock.now += 0.001
    assert 9 <= len(caplog.records) <= 11
    assert sum(vars(record).get("skipped", 0) for record in caplog.records) > 850


def test_a_flood_of_faults_is_bounded_too(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(100)
    with caplog.at_level(logging.INFO):
        for _ in range(1000):
            write(log, status=503)
        assert len(caplog.records) == 100
        clock.now += 1
        write(log, status=503)
    assert vars(caplog.records[-1])["skipped"] == 900


def test_faults_are_written_beside_a_flood_of_other_lines(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = AccessLog(1)
    with caplog.at_level(logging.INFO):
        for _ in range(5):
            write(log, status=500)
    assert len(caplog.records) == 5


def test_a_quiet_time_is_not_saved_up(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(10)
    write(log)
    clock.now += 3600
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            write(log)
    assert len(caplog.records) <= 2
