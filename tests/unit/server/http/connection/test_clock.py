"""How long a connection may take, tick by tick."""

import pytest

from predictor.server.http.connection.clock import ConnectionClock, Phase, Reading, is_stalled
from predictor.server.http.connection.limits import HttpLimits, http_limits
from predictor.settings import TransportSettings

LIMITS = http_limits(
    TransportSettings(
        first_byte_timeout_s=5,
        header_timeout_s=3,
        body_timeout_s=20,
        keep_alive_timeout_s=8,
        transfer_window_s=4,
        min_transfer_bytes=100,
    ),
    descriptors=1000,
)


def reading(
    phase: Phase, *, requests: int = 1, answered: int = 0, received: int = 0, unread: int = 0
) -> Reading:
    return Reading(phase, requests, answered, received, unread)


def ticks_until_closed(reading_: Reading, limits: HttpLimits = LIMITS) -> tuple[str, int]:
    """Tick the same reading until the clock gives a reason; at most 100 times."""
    clock = ConnectionClock()
    for tick in range(100):
        if reason := clock.tick(reading_, limits, 1.0):
            return reason, tick
    return "", 100


@pytest.mark.parametrize(
    ("now", "reason", "ticks"),
    [
        (reading(Phase.QUIET, requests=0), "first_byte", 4),
        (reading(Phase.QUIET, answered=1), "idle", 8),
        (reading(Phase.HEAD), "header_time", 3),
        (reading(Phase.LINGER), "lingered", 2),
        (reading(Phase.LEAVE), "closing", 1),
        (reading(Phase.ANSWER), "", 100),
        (reading(Phase.BODY), "slow_body", 4),
    ],
)
def test_each_phase_has_its_limit(now: Reading, reason: str, ticks: int) -> None:
    closing = ticks_until_closed(now)
    assert closing[0] == reason
    assert abs(closing[1] - ticks) <= 1


def test_a_body_that_moves_has_the_whole_time() -> None:
    clock = ConnectionClock()
    reasons = [clock.tick(reading(Phase.BODY, received=50 * n), LIMITS, 1.0) for n in range(22)]
    assert reasons[:20] == [""] * 20
    assert "body_time" in reasons


def test_the_next_request_has_a_new_clock() -> None:
    clock = ConnectionClock()
    for requests in range(50):
        assert clock.tick(reading(Phase.HEAD, requests=requests), LIMITS, 1.0) == ""
        assert clock.tick(reading(Phase.HEAD, requests=requests), LIMITS, 1.0) == ""


def test_a_reader_that_stands_still_is_stalled() -> None:
    now = reading(Phase.QUIET, answered=1, unread=1 << 20)
    assert ticks_until_closed(now) == ("slow_reader", 4)


def test_a_reader_that_reads_is_not_stalled() -> None:
    clock = ConnectionClock()
    for tick in range(60):
        unread = (1 << 20) - 30 * tick
        assert clock.tick(reading(Phase.ANSWER, unread=unread), LIMITS, 1.0) == ""


def test_a_further_answer_is_progress() -> None:
    clock = ConnectionClock()
    for tick in range(60):
        now = reading(Phase.ANSWER, answered=tick // 3, unread=1 << 20)
        assert clock.tick(now, LIMITS, 1.0) == ""


@pytest.mark.parametrize(
    ("before", "now", "stalled"),
    [
        (0, 0, False),
        (100, 0, False),
        (100, 99, True),
        (1 << 20, 1 << 20, True),
        (1 << 20, (1 << 20) - 4096, False),
        (1 << 20, (1 << 20) - 4095, True),
    ],
)
def test_an_answer_must_move(before: int, now: int, stalled: bool) -> None:
    assert is_stalled(before, now, 4096) == stalled


def test_half_of_the_descriptors_bound_the_connections() -> None:
    assert http_limits(TransportSettings(), descriptors=1024).connections == 512
    assert http_limits(TransportSettings(), descriptors=1 << 20).connections == 4096
    assert http_limits(TransportSettings(max_connections=7), descriptors=1024).connections == 7


@pytest.mark.parametrize(("age_s", "ticks"), [(3, 3), (0, 100)])
def test_a_connection_is_old_after_its_time(age_s: float, ticks: int) -> None:
    limits = http_limits(TransportSettings(max_connection_age_s=age_s), descriptors=1000)
    clock = ConnectionClock()
    for tick in range(100):
        if clock.is_old(limits, 1.0):
            assert tick == ticks
            return
        clock.tick(reading(Phase.ANSWER, requests=tick), limits, 1.0)
    assert ticks == 100
