"""`predictor bench`: the speed of a model on this machine, without a server."""

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any, get_args

from predictor.bench import benchmark
from predictor.bench.plan import plan
from predictor.bundle.corpus import verification
from predictor.bundle.graph_info import flops_a_token, read_graph
from predictor.cli.arguments import counts, directory, examples, number, variant
from predictor.cli.reports import bench_report
from predictor.engine import cpu
from predictor.engine.session import resolve_device
from predictor.errors import BadSetting
from predictor.progress import Progress
from predictor.repository import LoadedModel, load_model
from predictor.settings import DeviceChoice, ModelSettings, VariantChoice

DEVICES = get_args(DeviceChoice)
SECONDS = 30.0
EXAMPLES = """
examples:
  predictor bench ./bundles/minilm
  predictor bench ./bundles/minilm --variant int8 --threads 1,2,4 --seconds 60
"""


def add(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure the speed of a model on this machine",
        description="Measure tokens per second by batch size and threads, and name the fastest "
        "settings.",
        **examples(EXAMPLES),
    )
    parser.add_argument("dir", metavar="DIR", help="Bundle or Hugging Face directory.")
    parser.add_argument(
        "--seconds",
        default=str(SECONDS),
        metavar="S",
        help=f"Approximate total time of all measurements in seconds. [default: {SECONDS:g}]",
    )
    parser.add_argument(
        "--threads",
        metavar="LIST",
        help="Numbers of threads to measure, such as 1,2,4. [default: the CPUs of this process]",
    )
    parser.add_argument(
        "--variant",
        default="auto",
        metavar="V",
        help="Variant to measure. [default: the one that would be served]",
    )
    parser.add_argument(
        "--device",
        default="auto",
        metavar="D",
        help="Device to run on: auto, cpu or cuda. [default: auto]",
    )
    parser.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of tables."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure and print.

    Raises:
        BadModel: the model cannot be run.
        BadSetting: an argument is wrong.
    """
    seconds = number("--seconds", args.seconds, minimum=1, maximum=3600)
    threads = counts("--threads", args.threads) if args.threads else [cpu.available_cpus()]
    if args.device not in DEVICES:
        raise BadSetting(f"--device: {args.device!r} is not one of {', '.join(DEVICES)}")
    device = resolve_device(args.device)
    folder = directory(args.dir)
    chosen = variant("--variant", args.variant)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="predictor-bench-") as cache:
        models = _open(folder, cache, chosen, device, threads)
        report = _measure(models, seconds)
    print(json.dumps(report.as_json()) if args.json else report.as_text())
    return 0


def _open(
    folder: Path, cache: str, chosen: VariantChoice, device: DeviceChoice, threads: list[int]
) -> dict[int, LoadedModel]:
    """The model, loaded once for each number of threads; on a GPU one thread is enough."""
    return {
        count: load_model(
            ModelSettings(
                model_dir=str(folder),
                cache_dir=cache,
                variant=chosen,
                device=device,
                threads=count,
            )
        )
        for count in (threads if device == "cpu" else [1])
    }


def _measure(models: dict[int, LoadedModel], seconds: float) -> bench_report.BenchReport:
    model = next(iter(models.values()))
    rows = model.tokenizer.encode(verification()).ids
    engines = {count: loaded.engine for count, loaded in models.items()}
    measures = plan(engines, rows, on_cuda=model.device == "cuda")
    with Progress().step("measuring", benchmark.ROUNDS * len(measures)) as advance:
        figures = benchmark.interleave(measures, seconds, advance)
    graph = read_graph(model.folder / model.bundle.variant(model.variant).graph)
    return bench_report.BenchReport(
        family=model.bundle.family,
        revision=model.bundle.revision,
        variant=model.variant,
        device=model.device,
        cpus=cpu.available_cpus(),
        instructions=cpu.instruction_sets(),
        flops_a_token=flops_a_token(graph),
        figures=figures,
    )
