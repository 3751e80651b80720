"""Simulated rollouts as a picture; like `plot.py` a home of matplotlib."""

import logging
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from predictor.comparison.plot import BLUE, GREY, ORANGE
from predictor.errors import BadSetting
from predictor.rollout.simulation import Point, Trace
from predictor.rollout.state import Verdict

GREEN, RED = "#3a7d44", "#b3261e"
COLORS: dict[Verdict, str] = {
    "Successful": GREEN,
    "Failed": RED,
    "Inconclusive": ORANGE,
    "Error": GREY,
}
# More lines are one grey area.
MOST_LINES = 60
# Between two words, of the picture's width.
LEAST_GAP = 0.02


def draw(traces: Sequence[Trace], title: str, path: Path) -> None:
    """Write the picture: weights of all runs, then what was seen and decided in the first.

    Raises:
        BadSetting: it cannot be written.
    """
    from matplotlib.figure import Figure

    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    figure = Figure(figsize=(11, 8), dpi=130, layout="constrained")
    weights, errors, slow, looks = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": (4, 2, 2, 1.2)}
    )
    first = traces[0]
    _weights(weights, traces)
    _shares(errors, first, "errors", "Errors since the step began (%), first run")
    _shares(slow, first, "slow", "Slower than the stable version's p99 (%), first run")
    _looks(looks, first)
    looks.set_xlabel("minutes")
    for axes in (weights, errors, slow, looks):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10, x=0.01, ha="left")
    try:
        figure.savefig(path)
    except OSError as error:
        raise BadSetting(f"--plot {path}: cannot be written: {error.strerror}") from error


def _weights(axes: Any, traces: Sequence[Trace]) -> None:
    axes.set_title("Share of the traffic that the canary gets (%)", fontsize=11, loc="left")
    for trace in traces[1:MOST_LINES]:
        axes.step(*_line(trace), where="post", color=GREY, linewidth=0.6, alpha=0.3)
    axes.step(*_line(traces[0]), where="post", color=BLUE, linewidth=2)
    axes.set_ylim(-3, 103)
    changes = [after for before, after in pairwise(traces[0].points) if before.phase != after.phase]
    width = (traces[0].points[-1].time - traces[0].points[0].time) / 60
    for place, point in enumerate(changes):
        minutes = point.time / 60
        axes.axvline(minutes, color=GREY, linewidth=0.6, linestyle=":")
        later = changes[place + 1].time / 60 if place + 1 < len(changes) else inf
        if later - minutes < LEAST_GAP * width:
            continue  # the next word would lie on this one
        high = point.routed < 50  # a word above a low line, and the other way round
        axes.annotate(
            f"{point.phase} ",
            (minutes, 100 if high else 0),
            rotation=90,
            fontsize=8,
            ha="right",
            va="top" if high else "bottom",
            color=RED if point.phase in ("RollingBack", "Failed") else GREY,
        )


def _line(trace: Trace) -> tuple[list[float], list[int]]:
    return [one.time / 60 for one in trace.points], [one.routed for one in trace.points]


def _shares(axes: Any, trace: Trace, what: str, title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    looked = [one for one in trace.points if one.canary and one.canary.answers]
    if not looked:
        axes.text(0.5, 0.4, "the canary had no traffic", ha="center", transform=axes.transAxes)
        return
    for side, color in (("stable", BLUE), ("canary", ORANGE)):
        shares = [100 * _share(one, side, what) for one in looked]
        times = [one.time / 60 for one in looked]
        axes.plot(times, shares, color=color, linewidth=1.5, label=side)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _share(point: Point, side: str, what: str) -> float:
    """Of one side's answers at a look, 0 to 1; not a number where it had none."""
    seen, stable = (point.canary if side == "canary" else point.stable), point.stable
    if not seen or not stable or not seen.answers or not stable.answers:
        return float("nan")
    if what == "errors":
        return seen.errors / seen.answers
    bounds = sorted(stable.buckets)
    total = stable.buckets[bounds[-1]]
    bound = next(one for one in bounds if total - stable.buckets[one] <= 0.01 * total)
    everything = seen.buckets[bounds[-1]]
    return 1 - seen.buckets[bound] / everything if everything else float("nan")


def _looks(axes: Any, trace: Trace) -> None:
    """A dot a look, by verdict."""
    axes.set_title(f"Looks, first run: {trace.state.reason}", fontsize=11, loc="left")
    for place, (verdict, color) in enumerate(reversed(COLORS.items())):
        times = [one.time / 60 for one in trace.points if one.verdict == verdict]
        axes.plot(times, [place] * len(times), "o", color=color, markersize=3)
    axes.set_yticks(range(len(COLORS)), list(reversed(COLORS)), fontsize=8)
    axes.set_ylim(-0.6, len(COLORS) - 0.4)
