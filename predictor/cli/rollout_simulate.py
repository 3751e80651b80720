"""`predictor rollout simulate`: the outcomes of a strategy over many simulated rollouts."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from predictor.cli.arguments import examples, number
from predictor.cli.plots import figure, rollout_plot
from predictor.cli.reports.rollout_report import as_json, as_text
from predictor.errors import BadSetting
from predictor.metrics import SECONDS
from predictor.rollout.spec import KIND, BadRollout, Spec, Target, read_spec, seconds
from predictor.simulator.cluster import Site
from predictor.simulator.load import Fault, Synthetic, SyntheticLoad, TrafficSource
from predictor.simulator.outcomes import RunOutcome, outcome_of, outcomes_of
from predictor.simulator.recording import BadRecording, Recording, Replayed, read_recording
from predictor.simulator.simulation import SimulatedRun, Trace

EXAMPLES = """
examples:
  predictor rollout simulate
  predictor rollout simulate --canary-errors 0.02 --runs 1000
  predictor rollout simulate --spec rollout.yaml --canary-latency 1.5 --plot slow.png
  predictor rollout simulate --recorded traffic.csv --canary-errors 0.01

A recording has one line per interval and version, as CSV or as JSON. Its fields are time,
deployment (stable or canary), answers, errors, refused, and the cumulative number of answers up to
each bound of the latency histogram: le_0.005 ... le_+Inf.
"""
# Traces that are kept for the plot.
MOST_DRAWN = 60
Sources = Callable[[np.random.Generator], TrafficSource]
# flag, default, least, most, help
FIGURES = (
    ("--requests-per-second", 50.0, 0.001, 1e6, "requests per second to both versions together"),
    ("--errors", 0.0, 0.0, 1.0, "share of 5xx in the answers of the stable version"),
    ("--latency-spread", 0.5, 0.01, 3.0, "standard deviation of the logarithm of the latency"),
    (
        "--cache-hits",
        0.0,
        0.0,
        1.0,
        "share of answers from the cache, which take a tenth of the time",
    ),
    (
        "--bursts",
        0.0,
        0.0,
        3.0,
        "standard deviation of the logarithm of a factor that varies the latencies and errors of "
        "both versions over time",
    ),
    ("--canary-errors", 0.0, 0.0, 1.0, "additional share of 5xx in the answers of the canary"),
    ("--canary-refused", 0.0, 0.0, 1.0, "additional share of 429 in the answers of the canary"),
    ("--canary-latency", 1.0, 0.01, 100.0, "factor of every latency of the canary"),
    ("--canary-tail", 1.0, 1.0, 100.0, "factor of the slowest latencies of the canary"),
    ("--tail-share", 0.05, 0.0, 1.0, "share of the answers that count as the slowest"),
    (
        "--canary-cosine",
        1.0,
        -1.0,
        1.0,
        "cosine of the vectors of the canary with those of the stable version",
    ),
)
ONLY_MADE = ("requests_per_second", "errors", "latency_spread", "cache_hits", "bursts")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="simulate a strategy on synthetic or recorded traffic",
        description="Simulate many rollouts of a strategy on synthetic or recorded traffic.",
        **examples(EXAMPLES),
    )
    parser.add_argument(
        "--spec", metavar="FILE.yaml", help=f"File with an {KIND}. [default: the default strategy]"
    )
    parser.add_argument(
        "--recorded", metavar="FILE", help="File with recorded traffic, CSV or JSON lines."
    )
    for flag, default, _, _, words in FIGURES:
        parser.add_argument(
            flag,
            default=str(default),
            metavar="N",
            help=f"{words[0].upper()}{words[1:]}. [default: {default:g}]",
        )
    parser.add_argument(
        "--cold-cache",
        default="0s",
        metavar="TIME",
        help="Time that the cache of the canary takes to fill. [default: 0s]",
    )
    parser.add_argument(
        "--pods", default="4", metavar="N", help="Pods of the stable version. [default: 4]"
    )
    parser.add_argument(
        "--runs", default="100", metavar="N", help="Rollouts to simulate. [default: 100]"
    )
    parser.add_argument(
        "--seed", default="1", metavar="N", help="Seed of the random numbers. [default: 1]"
    )
    parser.add_argument(
        "--plot", metavar="OUT.png", help="Draw the runs into this file (needs matplotlib)."
    )
    parser.add_argument(
        "--json", action="store_true", help="Print one JSON object instead of text."
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the outcomes of the runs.

    Raises:
        BadSetting: an argument is wrong, or a file cannot be read.
    """
    if args.plot:
        figure.check(Path(args.plot))
    figures = {_name(flag): number(flag, getattr(args, _name(flag)), minimum=least, maximum=most)
               for flag, _, least, most, _ in FIGURES}  # fmt: skip
    spec = _spec(args.spec)
    fault = _fault(figures, args.cold_cache)
    runs = int(number("--runs", args.runs, minimum=1, maximum=1e6))
    seed = int(number("--seed", args.seed, minimum=0, maximum=2**32))
    site = Site(pods=int(number("--pods", args.pods, minimum=1, maximum=1000)))
    sources = _sources(args, figures, fault)
    traces = (
        SimulatedRun(spec, sources(rng), fault, site, rng).trace()
        for rng in (np.random.default_rng([seed, index]) for index in range(runs))
    )
    drawn: list[Trace] = []
    ended: list[RunOutcome] = []
    for trace in traces:
        ended.append(outcome_of(trace))
        if args.plot and len(drawn) < MOST_DRAWN:
            drawn.append(trace)
    outcomes, is_good = outcomes_of(ended), fault == Fault()
    title = _title(args, figures, fault)
    words = as_json if args.json else as_text
    print(words(title, outcomes, is_good))
    if args.plot:
        rollout_plot.draw(drawn, title, Path(args.plot))
    return 0


def _name(flag: str) -> str:
    return flag[2:].replace("-", "_")


def _fault(figures: dict[str, float], cold_cache: str) -> Fault:
    try:
        cold_s = seconds(cold_cache)
    except BadRollout as error:
        raise BadSetting(f"--cold-cache: {error}") from error
    return Fault(
        errors=figures["canary_errors"],
        refused=figures["canary_refused"],
        latency=figures["canary_latency"],
        tail=figures["canary_tail"],
        # The share of the tail has no effect where the tail is not slower.
        tail_share=figures["tail_share"] if figures["canary_tail"] > 1 else Fault().tail_share,
        cosine=figures["canary_cosine"],
        cold_s=cold_s,
    )


def _sources(args: argparse.Namespace, figures: dict[str, float], fault: Fault) -> Sources:
    if not args.recorded:
        load = SyntheticLoad(
            SECONDS,
            rate=figures["requests_per_second"],
            errors=figures["errors"],
            spread=figures["latency_spread"],
            hits=figures["cache_hits"],
            bursts=figures["bursts"],
            fault=fault,
        )
        return lambda rng: Synthetic(load, rng)
    changed = [name for flag, default, *_ in FIGURES
            if (name := _name(flag)) in ONLY_MADE and figures[name] != default]  # fmt: skip
    if changed or fault.cold_s:
        flags = [f"--{name.replace('_', '-')}" for name in changed] or ["--cold-cache"]
        raise BadSetting(
            f"{', '.join(flags)}: cannot be used with --recorded, whose traffic has its own"
        )
    recording = _recording(args.recorded)
    return lambda rng: Replayed(recording, fault, rng)


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSetting(f"{name}: the file is not UTF-8 text") from error


def _recording(name: str) -> Recording:
    try:
        return read_recording(_text(name))
    except BadRecording as error:
        raise BadSetting(f"{name}: {error}") from error


def _spec(name: str | None) -> Spec:
    if name is None:
        return Spec(inference_service="any", target=Target(storage_uri="any://new", name="new"))
    import yaml

    try:
        documents = list(yaml.safe_load_all(_text(name)))
    except yaml.YAMLError as error:
        raise BadSetting(f"{name}: the file is not YAML") from error
    rollouts = [item for item in documents if isinstance(item, dict) and item.get("kind") == KIND]
    if len(rollouts) != 1:
        raise BadSetting(f"{name}: the file must have one {KIND}, and has {len(rollouts)}")
    try:
        return read_spec(rollouts[0])
    except BadRollout as error:
        raise BadSetting(f"{name}: {error}") from error


def _title(args: argparse.Namespace, figures: dict[str, float], fault: Fault) -> str:
    """The scenario in one line: only what differs from the defaults."""
    defaults = {_name(flag): default for flag, default, *_ in FIGURES}
    rate = f"{figures['requests_per_second']:g} requests/s"
    parts = [args.recorded or rate, args.spec or "default strategy"]
    for name, value in figures.items():
        if value != defaults[name] and name != "requests_per_second":
            parts.append(f"{name.replace('_', ' ')} {value:g}")
    if fault.cold_s:
        parts.append(f"cold cache {args.cold_cache}")
    return ", ".join([*parts, f"{args.runs} runs"])
