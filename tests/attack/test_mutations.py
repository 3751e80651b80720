"""A slice of the mutated requests; by hand all of them, by `python -m tests.attack.mutate`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.mutate import mutate
from tests.attack.mutations import mutant
from tests.serving import Server, model_flags

pytestmark = pytest.mark.slow

COUNT = 4000


@pytest.fixture
def server(model_dir: Path, cache_dir: Path, bundle_dir: Path) -> Iterator[Server]:
    del bundle_dir
    running = Server(*model_flags(model_dir, cache_dir), "--null-engine", "--drain-delay-s=0")
    yield running
    assert running.stop() == 0


def test_a_seed_always_gives_the_same_request() -> None:
    mutants = [mutant(seed) for seed in range(500)]
    assert mutants == [mutant(seed) for seed in range(500)]
    assert {each.kind for each in mutants} == {"json", "body", "head", "grpc", "frames"}


def test_mutated_requests_are_answered_without_an_error_of_ours(server: Server) -> None:
    findings = mutate(server, COUNT, seed=20261201)
    assert findings.is_alive
    assert findings.failures == []
    assert findings.tracebacks == []
    assert sum(findings.outcomes.values()) == COUNT
    assert findings.outcomes["json", "200"] > 0
    assert findings.outcomes["grpc", "OK"] > 0
