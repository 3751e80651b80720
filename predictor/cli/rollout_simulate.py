"""`predictor rollout simulate`: what a strategy does with a good or a bad canary, many times."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from predictor.cli.arguments import examples, number
from predictor.cli.rollout_report import as_json, as_text
from predictor.comparison import plot, rollout_plot
from predictor.errors import BadSetting
from predictor.metrics import SECONDS
from predictor.rollout.load import Fault, Load, Source, Synthetic
from predictor.rollout.outcomes import Outcome, outcome_of, outcomes_of
from predictor.rollout.recording import BadRecording, Recording, Replayed, read_recording
from predictor.rollout.simulation import Run, Trace
from predictor.rollout.site import Site
from predictor.rollout.spec import KIND, BadRollout, Spec, Target, read_spec, seconds

EXAMPLES = """
examples:
  predictor rollout simulate
  predictor rollout simulate --canary-errors 0.02 --runs 1000
  predictor rollout simulate --spec rollout.yaml --canary-latency 1.5 --plot slow.png
  predictor rollout simulate --recorded traffic.csv --canary-errors 0.01

A recording has a line for each interval and version, of CSV or of JSON: time, deployment (stable or
canary), answers, errors, refused, and answers up to each bound, cumulative: le_0.005 ... le_+Inf.
"""
# Whole traces that are kept for the picture.
MOST_DRAWN = 60
Sources = Callable[[np.random.Generator], Source]
# flag, default, least, most, help
FIGURES = (
    ("--requests-per-second", 50.0, 0.001, 1e6, "of both versions together"),
    ("--errors", 0.0, 0.0, 1.0, "share of 5xx in the stable version's answers"),
    ("--latency-spread", 0.5, 0.01, 3.0, "standard deviation of a latency's logarithm"),
    ("--cache-hits", 0.0, 0.0, 1.0, "share of answers out of the cache, ten times as fast"),
    ("--bursts", 0.0, 0.0, 3.0, "sway of times and errors of both versions, as --latency-spread"),
    ("--canary-errors", 0.0, 0.0, 1.0, "share of 5xx that the canary has more"),
    ("--canary-refused", 0.0, 0.0, 1.0, "share of 429 that the canary has more"),
    ("--canary-latency", 1.0, 0.01, 100.0, "factor of every time of the canary"),
    ("--canary-tail", 1.0, 1.0, 100.0, "factor of its slowest times"),
    ("--tail-share", 0.05, 0.0, 1.0, "share of the answers that are its slowest"),
    ("--canary-cosine", 1.0, -1.0, 1.0, "of its vectors with the stable version's"),
)
ONLY_MADE = ("requests_per_second", "errors", "latency_spread", "cache_hits", "bursts")


def add(commands: Any) -> None:
    parser = commands.add_parser(
        "simulate",
        help="try a strategy on made or recorded traffic",
        description="Run a rollout's strategy over made or recorded traffic, many times.",
        **examples(EXAMPLES),
    )
    parser.add_argument("--spec", metavar="FILE.yaml", help=f"an {KIND}; else the default strategy")
    parser.add_argument("--recorded", metavar="FILE", help="traffic of CSV or JSON lines")
    for flag, default, _, _, words in FIGURES:
        parser.add_argument(flag, default=str(default), metavar="N", help=f"{words} ({default:g})")
    parser.add_argument(
        "--cold-cache", default="0s", metavar="TIME", help="so long the canary's cache fills (0s)"
    )
    parser.add_argument("--pods", default="4", metavar="N", help="of the stable version (4)")
    parser.add_argument("--runs", default="100", metavar="N", help="(100)")
    parser.add_argument("--seed", default="1", metavar="N", help="(1)")
    parser.add_argument("--plot", metavar="OUT.png", help="draw it (needs matplotlib)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of words")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Print what the runs came to; raises BadSetting."""
    if given.plot:
        plot.check(Path(given.plot))
    figures = {_name(flag): number(flag, getattr(given, _name(flag)), minimum=least, maximum=most)
               for flag, _, least, most, _ in FIGURES}  # fmt: skip
    spec = _spec(given.spec)
    fault = _fault(figures, given.cold_cache)
    runs = int(number("--runs", given.runs, minimum=1, maximum=1e6))
    seed = int(number("--seed", given.seed, minimum=0, maximum=2**32))
    site = Site(pods=int(number("--pods", given.pods, minimum=1, maximum=1000)))
    sources = _sources(given, figures, fault)
    traces = (
        Run(spec, sources(rng), fault, site, rng).trace()
        for rng in (np.random.default_rng([seed, index]) for index in range(runs))
    )
    drawn: list[Trace] = []
    ended: list[Outcome] = []
    for trace in traces:
        ended.append(outcome_of(trace))
        if given.plot and len(drawn) < MOST_DRAWN:
            drawn.append(trace)
    found, is_good = outcomes_of(ended), fault == Fault()
    title = _title(given, figures, fault)
    words = as_json if given.json else as_text
    print(words(title, found, is_good))
    if given.plot:
        rollout_plot.draw(drawn, title, Path(given.plot))
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
        # Of a tail that is not slower its share says nothing.
        tail_share=figures["tail_share"] if figures["canary_tail"] > 1 else Fault().tail_share,
        cosine=figures["canary_cosine"],
        cold_s=cold_s,
    )


def _sources(given: argparse.Namespace, figures: dict[str, float], fault: Fault) -> Sources:
    if not given.recorded:
        load = Load(
            SECONDS,
            rate=figures["requests_per_second"],
            errors=figures["errors"],
            spread=figures["latency_spread"],
            hits=figures["cache_hits"],
            bursts=figures["bursts"],
            fault=fault,
        )
        return lambda rng: Synthetic(load, rng)
    said = [name for flag, default, *_ in FIGURES
            if (name := _name(flag)) in ONLY_MADE and figures[name] != default]  # fmt: skip
    if said or fault.cold_s:
        flags = [f"--{name.replace('_', '-')}" for name in said] or ["--cold-cache"]
        raise BadSetting(f"{', '.join(flags)}: not with --recorded, which has its own")
    recording = _recording(given.recorded)
    return lambda rng: Replayed(recording, fault, rng)


def _text(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise BadSetting(f"{name}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSetting(f"{name}: it is no text") from error


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
        raise BadSetting(f"{name}: it is no YAML") from error
    found = [one for one in documents if isinstance(one, dict) and one.get("kind") == KIND]
    if len(found) != 1:
        raise BadSetting(f"{name}: wanted is one {KIND}, it has {len(found)}")
    try:
        return read_spec(found[0])
    except BadRollout as error:
        raise BadSetting(f"{name}: {error}") from error


def _title(given: argparse.Namespace, figures: dict[str, float], fault: Fault) -> str:
    """The setting in one line, only what is not usual."""
    defaults = {_name(flag): default for flag, default, *_ in FIGURES}
    rate = f"{figures['requests_per_second']:g} requests/s"
    said = [given.recorded or rate, given.spec or "default strategy"]
    for name, value in figures.items():
        if value != defaults[name] and name != "requests_per_second":
            said.append(f"{name.replace('_', ' ')} {value:g}")
    if fault.cold_s:
        said.append(f"cold cache {given.cold_cache}")
    return ", ".join([*said, f"{given.runs} runs"])
