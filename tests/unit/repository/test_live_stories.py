"""Anything in any order, and what must hold after each step."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predictor.errors import BadModel, ModelNotFound
from predictor.repository import loader
from predictor.repository.states import VersionState
from tests.unit.repository.doubles import (
    Harness,
    Memory,
    Opener,
    ready,
)

READY, UNAVAILABLE = VersionState.READY, VersionState.UNAVAILABLE


NUMBERS = st.integers(1, 4)
MODELS = st.sampled_from(["a", "b"])
STEPS = st.one_of(
    st.tuples(st.just("publish"), MODELS, NUMBERS, st.sampled_from(["good", "good", "vectors"])),
    st.tuples(st.just("widen"), MODELS, NUMBERS, st.just("good")),
    st.tuples(st.just("delete"), MODELS, NUMBERS, st.just("")),
    st.tuples(st.just("load"), MODELS, st.none() | NUMBERS, st.just("")),
    st.tuples(st.just("unload"), MODELS, st.none() | NUMBERS, st.just("")),
    st.tuples(st.just("look"), MODELS, st.just(1), st.just("")),
    st.tuples(st.just("look"), MODELS, st.just(2), st.just("")),
)
Step = tuple[str, str, Any, str]


class Life:
    """Takes steps and says after each what is not as it must be."""

    def __init__(self, harness: Harness, warm: int) -> None:
        self.harness, self.warm = harness, warm

    async def step(self, step: Step) -> None:
        action, model, number, outcome = step
        harness = self.harness
        before = {name: harness.default(name) for name in "ab"}
        unloaded: set[str] = set()
        if action in ("publish", "widen"):
            harness.publish(model, number, outcome, 16 if action == "widen" else 8)
        elif action == "delete":
            if (harness.root / model / str(number)).exists():
                harness.delete(model, number)
        elif action == "look":
            await harness.rescan(number)
        else:
            change: Callable[..., Any] = getattr(harness.repository, action)
            with contextlib.suppress(BadModel, ModelNotFound):
                await change(model, number)
                if action == "unload":
                    unloaded = {model}
                elif number is not None:
                    assert harness.default(model) == number
            await harness.wait_until_unloaded()
        self.check(before, unloaded)

    def check(self, before: dict[str, int | None], unloaded: set[str]) -> None:
        harness = self.harness
        for name, default in before.items():
            assert default is None or name in unloaded or harness.default(name) is not None
        for served in harness.routing_table.all():
            assert (served.started, served.stopped) == (1, 0)
        assert all(served.stopped <= 1 for served in harness.made)
        keys = [served.key for served in harness.made if not served.stopped]
        assert len(keys) == len(set(keys)), "a version is loaded once"
        live = {served.key for served in harness.routing_table.all()}
        assert len(set(keys) - live) <= self.warm
        index = harness.repository.index()
        rows = {(e.name, int(e.version)): e for e in index if e.version}
        assert {key for key, row in rows.items() if row.state is READY} == live
        for key, row in rows.items():
            assert row.state is READY or row.reason, f"{key} is not served, and nothing says why"
            assert ready(*key) == float(row.state is READY)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(STEPS, min_size=3, max_size=14),
    st.sampled_from(["latest:1", "latest:2", "all", "specific:1,3", "latest:1;b=all"]),
    st.integers(0, 2),
)
def test_whatever_happens(steps: list[Step], policy: str, warm: int) -> None:
    asyncio.run(_live(steps, policy, warm))


async def _live(steps: list[Step], policy: str, warm: int) -> None:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        opener = Opener()
        patch.setattr(loader, "load_version", opener)
        patch.setattr(loader, "memory", Memory())
        patch.setattr(loader, "memory_need", Memory())
        harness = Harness(Path(folder) / "root", opener, version_policy=policy, warm_versions=warm)
        harness.publish("a", 1)
        await harness.start()
        life = Life(harness, warm)
        try:
            for step in steps:
                await life.step(step)
        finally:
            await harness.stop()
        assert all(served.stopped == 1 for served in harness.made if served.started)
