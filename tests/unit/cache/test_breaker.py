"""The breaker, with a clock that is a number."""

from predictor.cache.breaker import FAILURES, LONGEST_S, PAUSE_S, Breaker


def open_breaker(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    assert [breaker.record_failure(now) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [
        True
    ]
    return breaker


def test_single_failures_do_not_open_it() -> None:
    breaker = Breaker()
    for _ in range(10):
        for _ in range(FAILURES - 1):
            breaker.record_failure(0)
        assert breaker.allows(0)
        assert not breaker.record_success()
    assert not breaker.open


def test_open_nothing_passes_until_the_pause_is_over_and_then_one() -> None:
    breaker = open_breaker()
    assert breaker.open
    assert not breaker.allows(PAUSE_S * 0.99)
    assert breaker.allows(PAUSE_S)
    assert not breaker.allows(PAUSE_S)
    assert not breaker.allows(PAUSE_S * 1.99)


def test_a_probe_that_succeeds_closes_it_and_forgets_the_pause() -> None:
    breaker = open_breaker()
    assert breaker.allows(PAUSE_S)
    breaker.record_failure(PAUSE_S)
    assert breaker.allows(PAUSE_S * 3)
    assert breaker.record_success()
    assert not breaker.open
    for _ in range(FAILURES):
        breaker.record_failure(100)
    assert breaker.allows(100 + PAUSE_S)


def test_failed_probes_double_the_pause_up_to_the_longest() -> None:
    breaker, now, pauses = open_breaker(), 0.0, []
    for _ in range(10):
        before = now
        while not breaker.allows(now):
            now += PAUSE_S / 2
        pauses.append(now - before)
        breaker.record_failure(now)
    assert pauses[:4] == [PAUSE_S, PAUSE_S * 2, PAUSE_S * 4, PAUSE_S * 8]
    assert pauses[-1] == LONGEST_S


def test_requests_under_way_when_it_opens_do_not_double_the_pause() -> None:
    breaker = open_breaker()
    for _ in range(50):
        assert not breaker.record_failure(0.01)
    assert breaker.allows(PAUSE_S)


def test_a_probe_that_never_reports_is_followed_by_another() -> None:
    breaker = open_breaker()
    assert breaker.allows(PAUSE_S)
    assert breaker.allows(PAUSE_S * 2)
