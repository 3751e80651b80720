"""`predictor bench`: how fast a model is on this machine, without a server around it."""

import argparse
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

from predictor.cli import bench_report
from predictor.cli.arguments import counts, directory, examples, number, variant
from predictor.engine import benchmark, cpu
from predictor.engine.anatomy import flops_a_token, read_graph
from predictor.engine.session import resolve_device
from predictor.engine.survey import plan
from predictor.errors import BadSetting
from predictor.export.corpus import verification
from predictor.progress import Progress
from predictor.repository import LoadedModel, open_model
from predictor.settings import ModelSettings

DEVICES = ("auto", "cpu", "cuda")
SECONDS = 30.0
EXAMPLES = """
examples:
  predictor bench ./bundles/minilm
  predictor bench ./bundles/minilm --variant int8 --threads 1,2,4 --seconds 60
"""


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="measure a model on this machine",
        description="Tokens a second by batch size and threads, and the setting that is fastest.",
        **examples(EXAMPLES),
    )
    parser.add_argument("dir", metavar="DIR", help="a bundle, or a Hugging Face directory")
    parser.add_argument(
        "--seconds", default=str(SECONDS), metavar="S", help=f"in all, about [default {SECONDS:g}]"
    )
    parser.add_argument(
        "--threads", metavar="LIST", help="such as 1,2,4 [default: the CPUs of this process]"
    )
    parser.add_argument(
        "--variant", default="auto", metavar="V", help="which graph [default: as served]"
    )
    parser.add_argument("--device", default="auto", metavar="D", help="auto, cpu or cuda")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of tables")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Measure and print; raises BadModel or BadSetting."""
    seconds = number("--seconds", given.seconds, minimum=1, maximum=3600)
    threads = counts("--threads", given.threads) if given.threads else [cpu.available_cpus()]
    if given.device not in DEVICES:
        raise BadSetting(f"--device: {given.device!r} is not one of {', '.join(DEVICES)}")
    device = resolve_device(given.device)
    folder, chosen = directory(given.dir), variant("--variant", given.variant)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory(prefix="predictor-bench-") as cache:
        models = _open(folder, cache, chosen, device, threads)
        report = _measure(models, seconds)
    print(json.dumps(report.as_json()) if given.json else report.as_text())
    return 0


def _open(
    folder: Path, cache: str, chosen: str, device: str, threads: list[int]
) -> dict[int, LoadedModel]:
    """The model once for each number of threads; a GPU is driven by one."""
    return {
        count: open_model(
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


def _measure(models: dict[int, LoadedModel], seconds: float) -> bench_report.Report:
    model = next(iter(models.values()))
    rows = model.tokenizer.encode(verification()).ids
    engines = {count: loaded.engine for count, loaded in models.items()}
    measures = plan(engines, rows, on_cuda=model.device == "cuda")
    with Progress().step("measuring", benchmark.ROUNDS * len(measures)) as advance:
        figures = benchmark.interleave(measures, seconds, advance)
    graph = read_graph(model.folder / model.bundle.variant(model.variant).graph)
    return bench_report.Report(
        family=model.bundle.family,
        revision=model.bundle.revision,
        variant=model.variant,
        device=model.device,
        cpus=cpu.available_cpus(),
        instructions=cpu.instruction_sets(),
        flops_a_token=flops_a_token(graph),
        figures=figures,
    )
