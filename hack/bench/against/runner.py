"""The rounds of a comparison: both servers of a section are up, one at a time is under load."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from .. import machine
from ..errors import BenchError
from ..harness import Harness, Sample
from ..report import log
from ..servers import RunningServer, started
from .checkout import full_hash, is_modified
from .comparison import CommitComparison
from .results import ComparisonResults
from .schedule import BASELINE, CANDIDATE, SIDES, Side, order
from .tree import Tree, both
from .workloads import LATENCIES, SECTIONS, Workload

Samples = dict[Side, list[Sample]]


def run(
    harness: Harness, commit: str, sections: Sequence[str], at_least: float | None
) -> ComparisonResults:
    """Every section with both trees. A section that fails is noted, and the next one runs.

    Raises:
        BenchError: the commit does not exist, or its environment could not be made.
    """
    results = ComparisonResults(
        machine=machine.describe(),
        candidate_commit=full_hash("HEAD"),
        candidate_modified=is_modified(),
        baseline_commit=full_hash(commit),
        rounds=harness.options.rounds,
        run_seconds=harness.options.seconds,
        at_least=at_least,
    )
    with both(harness.options, commit) as trees:
        for name in sections:
            results.busy_cores = max(results.busy_cores, machine.busy_before(name))
            try:
                results.comparisons += compare(harness, trees, name)
            except (BenchError, OSError) as error:
                results.failures[name] = str(error)
                log(f"{name} did not run: {error}")
    return results


def compare(harness: Harness, trees: Mapping[Side, Tree], section: str) -> list[CommitComparison]:
    """All figures of one section.

    Raises:
        BenchError: a server did not start, or the two answer different vectors.
    """
    plan = SECTIONS[section]
    with ExitStack() as stack:
        servers: dict[Side, RunningServer] = {}
        for side in SIDES:
            log(f"starting {side}")
            spec = trees[side].spec(section, plan.flags)
            servers[side] = stack.enter_context(started(spec, harness.logs))
        workloads = plan.prepare(harness, servers)
        samples = measure(workloads, servers, harness.options.rounds)
    return [
        comparison(section, workload, unit, samples[workload.name])
        for workload in workloads
        for unit in workload.units
    ]


def measure(
    workloads: Sequence[Workload], servers: Mapping[Side, RunningServer], rounds: int
) -> dict[str, Samples]:
    """One sample of each workload, side and round.

    The two runs that make one ratio follow each other directly.
    """
    samples: dict[str, Samples] = {
        workload.name: {side: [] for side in SIDES} for workload in workloads
    }
    for number in range(1, rounds + 1):
        for workload in workloads:
            for side in order(number):
                sample = workload.measure(servers[side])
                samples[workload.name][side].append(sample)
                shown = ", ".join(f"{sample[unit]:.4g} {unit}" for unit in workload.units)
                log(f"round {number}/{rounds}: {workload.name}: {side}: {shown}")
    return samples


def comparison(section: str, workload: Workload, unit: str, samples: Samples) -> CommitComparison:
    """One figure out of the samples of a workload."""
    errors = sum(sample.get("errors", 0) for side in SIDES for sample in samples[side])
    return CommitComparison(
        section,
        workload.name,
        unit,
        candidate=tuple(sample[unit] for sample in samples[CANDIDATE]),
        baseline=tuple(sample[unit] for sample in samples[BASELINE]),
        lower_is_better=unit in LATENCIES,
        errors=int(errors),
    )
