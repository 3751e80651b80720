"""The defaults on invented traffic, small; `simulate.py` has the long run on real vectors."""

import numpy as np
import pytest

from predictor.drift.findings import THRESHOLDS
from predictor.drift.monitor import DriftSchedule
from predictor.drift.reference import learn
from predictor.drift.scripts import shares
from tests.unit.drift.simulation import (
    Fault,
    count_alarms,
    false_alarms,
    power,
    replaced,
    windows,
)
from tests.unit.drift.traffic import DAY, Mix, Pool, base_of, draw, invented, sketched

POOL = invented(np.random.default_rng(1))
USUAL = Mix("baseline", sway=0.3, day=0.5, weekend=0.4)


def test_the_defaults_that_were_simulated() -> None:
    """Who changes one has to run `simulate.py` again and to change its table."""
    assert DriftSchedule() == DriftSchedule(900.0, 1000, 2048, 3, 86400.0, 8)
    assert THRESHOLDS == {
        **{"lengths": 0.2, "truncated": 0.2, "unknown": 0.13, "scripts": 0.06, "broken": 0.1},
        **{"norms": 0.12, "direction": 0.12, "spread": 0.1, "mmd": 0.1},
    }


@pytest.mark.study
@pytest.mark.parametrize("mix", [Mix("the same"), USUAL], ids=lambda mix: mix.name)
def test_days_of_traffic_that_sways_have_no_alarm(mix: Mix) -> None:
    assert not false_alarms(POOL, mix, days=2, generator=np.random.default_rng(7))


def test_a_tenant_that_takes_over_is_one_alarm() -> None:
    """The simulation can count: the traffic is another one for some windows."""
    generator = np.random.default_rng(7)
    baseline = [sketched(POOL, w, generator) for w in windows(POOL, USUAL, 30, generator)]
    only = (base_of(POOL) * (np.arange(12) < 2)) / (2 / 12)
    flood = [sketched(POOL, draw(POOL, only, 1000, generator), generator) for _ in range(5)]
    alarms = count_alarms(learn(baseline[:20], 0.0), iter(baseline[20:] + flood + baseline[20:]))
    assert alarms["any"] == alarms["direction"] == alarms["lengths"] == 1


def test_the_parts_of_a_mix_are_parts_and_follow_the_day() -> None:
    parts = Mix("day", day=0.5).weights(base_of(POOL), 2 * DAY, np.random.default_rng(1))
    assert parts.sum(axis=1) == pytest.approx(1)
    assert parts[0] == pytest.approx(parts[DAY])
    assert parts[DAY // 4, 1] / parts[DAY // 4, 0] == pytest.approx(np.e)


def changed(**parts: object) -> Fault:
    content = {name: getattr(POOL, name) for name in Pool.__dataclass_fields__} | parts
    return lambda rows: (Pool(**content), rows)


FAULTS = {
    "longer": (changed(lengths=POOL.lengths * 2), "lengths"),
    "cut": (changed(truncated=np.arange(len(POOL)) % 10 == 0), "truncated"),
    "unknown": (changed(unknown=POOL.unknown + POOL.lengths // 10), "unknown"),
    "digits": (changed(scripts=shares(["9 a"] * len(POOL))), "scripts"),
    "larger": (changed(rows=POOL.rows * np.float32(1.1)), "norms"),
    "turned": (changed(rows=POOL.rows[:, ::-1].copy()), "direction"),
    "flat": (changed(rows=np.abs(POOL.rows)), "spread"),
    "damaged": (changed(rows=np.where(np.arange(48) == 3, np.nan, POOL.rows)), "broken"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_test_sees_its_fault(name: str) -> None:
    fault, expected = FAULTS[name]
    result = power(name, POOL, USUAL, fault, np.random.default_rng(3), count=4, learning=16)
    assert result.by[expected] == 1


def test_traffic_without_a_fault_raises_no_alarm() -> None:
    result = power("none", POOL, USUAL, changed(), np.random.default_rng(3), count=24)
    assert result.detected <= 1 / 24


def test_a_share_of_another_pool_is_that_share() -> None:
    other = invented(np.random.default_rng(2), tenants=2)
    fault = replaced(POOL, other, 0.2, np.random.default_rng(4))
    both, rows = fault(np.arange(len(POOL)))
    assert len(both) == len(POOL) + len(other)
    assert 0.15 < (rows >= len(POOL)).mean() < 0.25
    kept = rows < len(POOL)
    assert (rows[kept] == np.arange(len(POOL))[kept]).all()
