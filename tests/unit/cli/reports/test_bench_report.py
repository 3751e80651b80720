"""The tables of a benchmark."""

import json

import pytest

from predictor.bench.benchmark import Arrangement
from predictor.bench.plan import Figure, Latency, Peak, Throughput
from predictor.cli.reports.bench_report import BenchReport

SIDE, WIDE, SINGLE = Arrangement(2, 1), Arrangement(1, 2), Arrangement(1, 1)
FIGURES: dict[tuple[Figure, Arrangement], float] = {
    (Peak(), SIDE): 200e9,
    (Peak(), WIDE): 100e9,
    (Throughput(128), SIDE): 4000.0,
    (Throughput(128), WIDE): 3000.0,
    (Throughput(256), SIDE): 5000.0,
    (Throughput(256), WIDE): 2500.0,
    (Latency(16), SINGLE): 0.004,
    (Latency(16), WIDE): 0.0025,
}


def report(figures: dict[tuple[Figure, Arrangement], float] = FIGURES) -> BenchReport:
    return BenchReport(
        family="bert",
        revision="abc",
        variant="fp32",
        device="cpu",
        cpus=2,
        instructions=("avx2", "fma"),
        flops_a_token=20_000_000,
        figures=figures,
    )


def test_the_tables_say_what_was_measured() -> None:
    text = " ".join(report().as_text().split())
    for part in (
        "bert, fp32 on cpu, revision abc",
        "CPUs available to this process: 2; instruction sets: avx2 fma",
        "work per token: 20.0 MFLOP",
        "2 runs of 1 thread: 200 GFLOP/s, 1 run of 2 threads: 100 GFLOP/s",
        "tokens/s (share of peak) at 2 runs of 1 thread 1 run of 2 threads",
        "--max-batch-tokens 128 4000 (40%) 3000 (60%)",
        "--max-batch-tokens 256 5000 (50%) 2500 (50%)",
        "p50 in ms, one request at a time 1 thread 2 threads",
        "a text of 16 tokens 4.00 2.50",
        "fastest settings on this machine: --max-batch-tokens 256 --threads 2",
    ):
        assert part in text


def test_the_json_has_the_same_figures() -> None:
    content = json.loads(json.dumps(report().as_json()))
    assert content["setting"] == {"max_batch_tokens": 256, "threads": 2}
    assert content["peaks"][0] == {"callers": 2, "threads": 1, "flops": 200e9}
    assert content["rates"][0] == {
        "callers": 2, "threads": 1, "batch_tokens": 128, "tokens_per_second": 4000.0,
        "share_of_peak": pytest.approx(0.4),
    }  # fmt: skip
    assert content["alone"][1] == {"callers": 1, "threads": 2, "tokens": 16, "p50_ms": 2.5}


def test_without_a_peak_there_is_no_share() -> None:
    figures = {key: value for key, value in FIGURES.items() if not isinstance(key[0], Peak)}
    text = report(figures).as_text()
    assert "peak:" not in text
    assert "%" not in text
    assert report(figures).as_json()["rates"][0]["share_of_peak"] is None


def test_several_numbers_of_threads_have_a_column_each() -> None:
    figures = FIGURES | {(Throughput(budget), SINGLE): 2100.0 for budget in (128, 256)}
    assert "1 run of 1 thread" in report(figures).as_text()
