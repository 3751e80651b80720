"""The monitor with a clock of its own: learn, compare, alarm, calm down."""

from collections.abc import Sequence

import numpy as np
import pytest

from predictor.drift.findings import FEWEST_ROWS, THRESHOLDS, compare, threshold
from predictor.drift.measures import NAMES
from predictor.drift.monitor import MOST_LEARNT, DriftSchedule, Hysteresis, Monitor
from predictor.drift.reference import DriftReference
from predictor.drift.sketch import BadSketch, ModelIdentity, empty
from predictor.types import FloatRows, Tokens

IDENTITY = ModelIdentity("0123456789ab", "fp32", 24)
# The first window, too, looks at every row.
SCHEDULE = DriftSchedule(learn_seconds=3600, learn_windows=3, sampled=8 * FEWEST_ROWS)


class Traffic:
    """A server's traffic; `offset` moves the vectors, `unknown` and `words` what is asked."""

    def __init__(self, monitor: Monitor, seed: int = 1) -> None:
        self.monitor, self.generator, self.now = monitor, np.random.default_rng(seed), 0.0
        self.offset, self.unknown, self.words = 0.0, 0, "hello"

    def rows(self, count: int) -> FloatRows:
        rows = self.generator.standard_normal((count, 24), np.float32)
        return rows + np.float32(self.offset)

    def ask(self, requests: int = FEWEST_ROWS) -> None:
        for _ in range(requests):
            length = int(self.generator.integers(8, 40))
            ids = [100] * self.unknown + [7] * length
            self.monitor.observe([self.words], Tokens([ids]), self.rows(1))

    def window(self) -> list[str]:
        """A window of traffic; the names of the tests that drifted in it."""
        self.ask()
        self.now += SCHEDULE.seconds
        assert self.monitor.is_due(self.now)
        findings = self.monitor.judge(self.monitor.close(self.now), self.now, made=1e9)
        return [finding.name for finding in findings if finding.drifted]


def watching() -> Traffic:
    """Traffic whose reference is learnt."""
    monitor = Monitor(IDENTITY, np.random.default_rng(2), 0.0, unknown_id=100, schedule=SCHEDULE)
    traffic = Traffic(monitor)
    while monitor.state == "learning":
        traffic.window()
    return traffic


def test_the_reference_is_learnt_from_the_first_windows() -> None:
    traffic = watching()
    reference = traffic.monitor.reference
    assert reference is not None
    assert (reference.windows, reference.made) == (4, 1e9)
    assert reference.sketch.rows == 4 * FEWEST_ROWS
    assert set(reference.baseline) == set(NAMES)
    assert traffic.monitor.findings == []


def test_the_same_traffic_has_not_drifted() -> None:
    traffic = watching()
    assert [traffic.window() for _ in range(6)] == [[]] * 6
    assert not any(traffic.monitor.alarms.values())
    assert [finding.name for finding in traffic.monitor.findings] == list(NAMES)


def test_an_alarm_needs_windows_in_a_row_and_ends_after_as_many() -> None:
    traffic = watching()
    monitor = traffic.monitor
    states = []
    for unknown in (5, 5, 0, 5, 5, 5, 0, 0, 5, 0, 0, 0):
        traffic.unknown = unknown
        drifted = traffic.window()
        assert ("unknown" in drifted) == (unknown > 0)
        states.append(monitor.alarms["unknown"])
    expected = [False] * 5 + [True] * 6 + [False]
    assert states == expected
    assert not monitor.alarms["norms"]


def test_the_test_that_moved_is_named() -> None:
    traffic = watching()
    traffic.offset = 0.5
    assert {"direction", "spread", "mmd", "norms"} <= set(traffic.window())
    traffic.offset, traffic.words = 0.0, "привет"
    assert traffic.window() == ["scripts"]


def test_vectors_that_are_no_numbers_are_found() -> None:
    traffic = watching()
    traffic.offset = float("nan")
    assert traffic.window() == ["broken"]


def test_a_window_ends_by_time_and_count_together() -> None:
    monitor = Monitor(IDENTITY, np.random.default_rng(2), 100.0, schedule=SCHEDULE)
    traffic = Traffic(monitor)
    assert not monitor.is_due(1e6)
    traffic.ask(FEWEST_ROWS - 1)
    assert not monitor.is_due(1e6)
    traffic.ask(1)
    assert monitor.is_due(1e6)
    assert not monitor.is_due(100.0 + SCHEDULE.seconds - 1)
    assert monitor.is_due(100.0 + SCHEDULE.seconds)


def test_a_clock_that_went_back_makes_a_window_longer_and_nothing_else() -> None:
    monitor = Monitor(IDENTITY, np.random.default_rng(2), 1e9, schedule=SCHEDULE)
    Traffic(monitor).ask()
    assert not monitor.is_due(5.0)
    assert not monitor.is_due(SCHEDULE.seconds)
    assert monitor.is_due(5.0 + SCHEDULE.seconds)


def test_a_saved_reference_goes_on_where_it_was() -> None:
    reference = watching().monitor.reference
    again = Monitor(IDENTITY, np.random.default_rng(4), 0.0, reference=reference, schedule=SCHEDULE)
    assert again.state == "watching"
    assert Traffic(again, seed=9).window() == []


def test_a_reference_of_another_model_is_refused() -> None:
    other = ModelIdentity("0123456789ab", "int8", 24)
    reference = DriftReference(empty(other), 0.0, 1)
    with pytest.raises(BadSketch, match="int8"):
        Monitor(IDENTITY, np.random.default_rng(2), 0.0, reference=reference)


def test_learning_holds_a_bounded_number_of_windows() -> None:
    schedule = DriftSchedule(seconds=0, rows=1, learn_seconds=1000, learn_windows=1)
    monitor = Monitor(IDENTITY, np.random.default_rng(2), 0.0, schedule=schedule)
    traffic = Traffic(monitor)
    for second in range(3 * MOST_LEARNT):
        traffic.ask(1)
        monitor.judge(monitor.close(float(second)), float(second), made=0.0)
        assert monitor.state == "learning"
        assert len(monitor._learnt) <= MOST_LEARNT
    traffic.ask(1)
    monitor.judge(monitor.close(1000.0), 1000.0, made=0.0)
    assert monitor.reference is not None
    assert monitor.reference.sketch.rows == 3 * MOST_LEARNT + 1


def test_token_ids_have_no_scripts_and_the_rest() -> None:
    traffic = watching()
    rows = traffic.rows(1)
    for _ in range(FEWEST_ROWS):
        traffic.monitor.observe([[7] * 20], Tokens([[7] * 20], [0]), rows)
    findings = traffic.monitor.judge(traffic.monitor.close(traffic.now), traffic.now, made=0.0)
    names = [finding.name for finding in findings]
    assert "scripts" not in names
    assert {"lengths", "truncated", "direction", "spread"} <= set(names)


def test_rows_of_a_large_request_are_those_of_their_texts() -> None:
    """Length, truncation and vector of one row stay together when some are picked."""
    monitor = Monitor(IDENTITY, np.random.default_rng(2), 0.0, schedule=SCHEDULE)
    ids = [[7] * (1 if index % 2 else 300) for index in range(400)]
    rows = np.array([[1.0 if index % 2 else 100.0] * 24 for index in range(400)], np.float32)
    texts: list[str] = ["x" if index % 2 else "я" for index in range(400)]
    for _ in range(20):
        monitor.observe(texts, Tokens(ids, list(range(0, 400, 2))), rows)
    sketch = monitor.sketch()
    long = int(sketch.lengths[13:].sum())
    assert 0 < long < sketch.rows == 160
    assert long == sketch.truncated == int(sketch.norms[1000:].sum())
    assert long == sketch.scripts[3] >> 20


def test_thresholds_follow_the_baseline_of_the_reference() -> None:
    reference = DriftReference(empty(IDENTITY), 0.0, 1, {"norms": 0.5, "mmd": 0.01})
    assert threshold(reference, "norms") == pytest.approx(0.75)
    assert threshold(reference, "mmd") == THRESHOLDS["mmd"]
    assert set(THRESHOLDS) == set(NAMES)


def test_too_few_rows_say_nothing() -> None:
    traffic = watching()
    assert traffic.monitor.reference is not None
    with pytest.raises(BadSketch, match="the window has 0 rows; 1000 are needed"):
        compare(traffic.monitor.reference, empty(IDENTITY))


@pytest.mark.parametrize("windows", [[True, True, False] * 5, [False] * 9])
def test_hysteresis_needs_its_streak(windows: Sequence[bool]) -> None:
    hysteresis = Hysteresis(3)
    for drifted in windows:
        hysteresis.record(drifted)
        assert not hysteresis.alarm


def test_requests_go_into_the_next_window_while_one_is_judged() -> None:
    traffic = watching()
    traffic.ask()
    closed = traffic.monitor.close(traffic.now)
    traffic.offset = 5.0
    traffic.ask(300)
    findings = traffic.monitor.judge(closed, traffic.now, made=0.0)
    assert not any(finding.drifted for finding in findings)
    assert traffic.monitor.last is closed
    assert (traffic.monitor.count, traffic.monitor.sketch().rows) == (300, 300)
