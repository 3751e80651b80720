"""What surrounds the arithmetic of a comparison: runs, results, flags, environments, options."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from hack.bench.against import dependencies
from hack.bench.against.comparison import CommitComparison
from hack.bench.against.flags import Flag, known_flags, name_of
from hack.bench.against.results import ComparisonResults
from hack.bench.against.runner import comparison, measure
from hack.bench.against.schedule import BASELINE, CANDIDATE, SIDES
from hack.bench.against.workloads import Workload
from hack.bench.command_line import parse
from hack.bench.errors import BenchError
from hack.bench.harness import Sample
from hack.bench.servers import V2, RunningServer, ServerSpec
from tests.unit.bench_harness.comparisons import compared


def test_the_two_runs_of_a_ratio_follow_each_other() -> None:
    runs: list[tuple[str, str]] = []

    def workload(name: str) -> Workload:
        def run(server: RunningServer) -> Sample:
            runs.append((name, server.spec.name))
            return {"texts/s": float(len(runs))}

        return Workload(name, ("texts/s",), run)

    servers = {side: fake_server(side) for side in SIDES}
    samples = measure([workload("x"), workload("y")], servers, rounds=2)
    ahead = [(name, side) for name in ("x", "y") for side in (CANDIDATE, BASELINE)]
    behind = [(name, side) for name in ("x", "y") for side in (BASELINE, CANDIDATE)]
    assert runs == ahead + behind
    assert samples["y"][CANDIDATE] == [{"texts/s": 3.0}, {"texts/s": 8.0}]


def fake_server(name: str) -> RunningServer:
    """No process: the workloads of these tests only look at the name."""
    spec = ServerSpec(name, (), "/ready", V2)
    return RunningServer(spec, process=None, port=0, grpc_port=0, ready_s=0.0)  # type: ignore[arg-type]


def test_samples_of_both_sides_become_one_figure_and_errors_add_up() -> None:
    workload = Workload("c=1", ("texts/s", "p50 ms"), lambda server: {})
    samples = {
        CANDIDATE: [{"texts/s": 10.0, "p50 ms": 4.0, "errors": 1}],
        BASELINE: [{"texts/s": 20.0, "p50 ms": 2.0, "errors": 2}],
    }
    speed = comparison("served", workload, "texts/s", samples)
    delay = comparison("served", workload, "p50 ms", samples)
    assert (speed.ratio, delay.ratio) == (0.5, 0.5)
    assert (speed.errors, delay.lower_is_better) == (3, True)


# The results


def results(*comparisons: CommitComparison, at_least: float | None = None) -> ComparisonResults:
    machine = {"cpu": "some", "cores": 2}
    return ComparisonResults(
        machine,
        "a" * 40,
        candidate_modified=False,
        baseline_commit="b" * 40,
        rounds=7,
        run_seconds=6,
        at_least=at_least,
        comparisons=list(comparisons),
    )


def test_a_lower_ratio_fails_only_where_at_least_asks_for_more() -> None:
    slower = compared((96.0,) * 7, (100.0,) * 7)
    assert results(slower).exit_code == 0
    assert results(slower, at_least=0.96).exit_code == 0
    assert results(slower, at_least=0.97).exit_code == 1
    assert (
        "wire, gRPC, requests/s: 0.960 is lower than 0.97" in results(slower, at_least=0.97).table()
    )


def test_a_figure_without_a_ratio_does_not_pass_at_least() -> None:
    assert results(compared((1.0,), (0.0,)), at_least=0.97).exit_code == 1


def test_errors_and_failed_sections_fail() -> None:
    assert results(compared((1.0,), (1.0,), errors=1)).exit_code == 1
    failed = results()
    failed.failures["wire"] = "did not start"
    assert failed.exit_code == 1
    assert "wire did not run: did not start" in failed.table()


def test_json_has_all_samples_and_the_verdict(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results(compared((2.0,) * 7, (1.0,) * 7)).write(path)
    (figure,) = json.loads(path.read_text())["comparisons"]
    assert figure["candidate"] == {"median": 2.0, "samples": [2.0] * 7}
    assert figure["round_ratios"] == [2.0] * 7
    assert (figure["ratio"], figure["interval"], figure["verdict"]) == (2.0, [2.0, 2.0], "faster")


# Flags, environments, command line


def test_the_newest_name_of_a_flag_that_the_commit_knows_is_used() -> None:
    flag = Flag(("--poll-interval-s", "--poll-interval"), "reason")
    assert name_of(flag, known_flags("[--poll-interval X]\n  --poll-interval-s X")) == flag.names[0]
    assert name_of(flag, known_flags("usage: serve [--poll-interval X]")) == "--poll-interval"
    with pytest.raises(BenchError, match="no --poll-interval-s or --poll-interval: reason"):
        name_of(flag, known_flags("[--poll-interval-ms N]"))


def write_tree(folder: Path, dependency: str, pinned: str) -> Path:
    (folder / "hack").mkdir(parents=True)
    (folder / "hack/constraints.txt").write_text(pinned)
    (folder / "pyproject.toml").write_text(
        f'[project]\ndependencies = ["{dependency}"]\n'
        '[project.optional-dependencies]\ncpu = ["onnxruntime"]\nlint = ["ruff"]\n'
    )
    return folder


def test_the_same_dependencies_share_an_environment(tmp_path: Path) -> None:
    this = write_tree(tmp_path / "this", "numpy>=2", "numpy==2.0")
    same = write_tree(tmp_path / "same", "numpy>=2", "numpy==2.0")
    python = tmp_path / "python"
    assert dependencies.requirements(this) == ("numpy>=2", "onnxruntime")
    assert dependencies.python_of(same, this, python, tmp_path / "cache") == python


@pytest.mark.parametrize(("dependency", "pinned"), [("numpy>=1", "numpy==2.0"), ("numpy>=2", "")])
def test_other_dependencies_get_an_environment_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dependency: str, pinned: str
) -> None:
    this = write_tree(tmp_path / "this", "numpy>=2", "numpy==2.0")
    other = write_tree(tmp_path / "other", dependency, pinned)
    made: list[Sequence[str]] = []

    def make(folder: Path, install: Sequence[str], digest: str) -> Path:
        made.append(install)
        return folder / f"bin/python-{digest[:4]}"

    monkeypatch.setattr("hack.bench.environments.make", make)
    python = dependencies.python_of(other, this, tmp_path / "python", tmp_path / "cache")
    assert python.is_relative_to(tmp_path / "cache")
    constraint = ["--constraint", str(other / "hack/constraints.txt")]
    assert made == [[dependency, "onnxruntime", *constraint]]


def test_a_comparison_has_seven_rounds_of_its_own_sections_by_default() -> None:
    arguments = parse(["--against", "HEAD~1"])
    assert (arguments.rounds, arguments.only) == (7, ["served", "wire", "cache"])
    assert parse([]).rounds == 3
    assert parse(["--against", "HEAD~1", "--rounds", "9", "--only", "wire"]).rounds == 9


@pytest.mark.parametrize(
    "words",
    [
        ["--at-least", "0.97"],
        ["--against", "HEAD", "--only", "memory"],
        ["--against", "HEAD", "--at-least", "0"],
        ["--against", "HEAD", "--server-flag=--threads=2"],
    ],
)
def test_arguments_that_a_comparison_cannot_follow_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
