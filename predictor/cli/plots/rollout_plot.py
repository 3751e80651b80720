"""Plots of simulated rollouts."""

from collections.abc import Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any

from predictor.cli.plots.figure import BLUE, GREY, ORANGE, new_figure, save
from predictor.rollout.state import Verdict
from predictor.simulator.simulation import Trace, TracePoint

GREEN, RED = "#3a7d44", "#b3261e"
COLORS: dict[Verdict, str] = {
    "Successful": GREEN,
    "Failed": RED,
    "Inconclusive": ORANGE,
    "Error": GREY,
}
# More lines would merge into a grey area.
MOST_LINES = 60
# Between two labels, share of the plot's width.
LEAST_GAP = 0.02


def draw(traces: Sequence[Trace], title: str, path: Path) -> None:
    """Write the plot: weights of all runs, then measurements and verdicts of the first run.

    Raises:
        BadSetting: it cannot be written.
    """
    figure = new_figure(11, 8)
    weights, errors, slow, verdicts = figure.subplots(
        4, 1, sharex=True, gridspec_kw={"height_ratios": (4, 2, 2, 1.2)}
    )
    first = traces[0]
    _weights(weights, traces)
    _shares(errors, first, "errors", "Errors since the step began (%), first run")
    _shares(slow, first, "slow", "Slower than the stable version's p99 (%), first run")
    _verdicts(verdicts, first)
    verdicts.set_xlabel("minutes")
    for axes in (weights, errors, slow, verdicts):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10, x=0.01, ha="left")
    save(figure, path)


def _weights(axes: Any, traces: Sequence[Trace]) -> None:
    axes.set_title("Share of the traffic that the canary gets (%)", fontsize=11, loc="left")
    for trace in traces[1:MOST_LINES]:
        axes.step(*_line(trace), where="post", color=GREY, linewidth=0.6, alpha=0.3)
    axes.step(*_line(traces[0]), where="post", color=BLUE, linewidth=2)
    axes.set_ylim(-3, 103)
    changes = [after for before, after in pairwise(traces[0].points) if before.phase != after.phase]
    width = (traces[0].points[-1].time - traces[0].points[0].time) / 60
    for index, point in enumerate(changes):
        minutes = point.time / 60
        axes.axvline(minutes, color=GREY, linewidth=0.6, linestyle=":")
        next_minutes = changes[index + 1].time / 60 if index + 1 < len(changes) else inf
        if next_minutes - minutes < LEAST_GAP * width:
            continue  # the next label would overlap this one
        is_above = point.routed < 50  # a label is above a low line, and below a high one
        axes.annotate(
            f"{point.phase} ",
            (minutes, 100 if is_above else 0),
            rotation=90,
            fontsize=8,
            ha="right",
            va="top" if is_above else "bottom",
            color=RED if point.phase in ("RollingBack", "Failed") else GREY,
        )


def _line(trace: Trace) -> tuple[list[float], list[int]]:
    return [point.time / 60 for point in trace.points], [point.routed for point in trace.points]


def _shares(axes: Any, trace: Trace, measure: str, title: str) -> None:
    axes.set_title(title, fontsize=11, loc="left")
    analyzed = [point for point in trace.points if point.canary and point.canary.answers]
    if not analyzed:
        axes.text(0.5, 0.4, "the canary had no traffic", ha="center", transform=axes.transAxes)
        return
    for version, color in (("stable", BLUE), ("canary", ORANGE)):
        shares = [100 * _share(point, version, measure) for point in analyzed]
        times = [point.time / 60 for point in analyzed]
        axes.plot(times, shares, color=color, linewidth=1.5, label=version)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=8, ncols=2)


def _share(point: TracePoint, version: str, measure: str) -> float:
    """Share of a version's answers at one analysis, 0 to 1; NaN where it had none."""
    stable = point.stable
    traffic = point.canary if version == "canary" else stable
    if not traffic or not stable or not traffic.answers or not stable.answers:
        return float("nan")
    if measure == "errors":
        return traffic.errors / traffic.answers
    bounds = sorted(stable.buckets)
    total = stable.buckets[bounds[-1]]
    bound = next(upper for upper in bounds if total - stable.buckets[upper] <= 0.01 * total)
    answers = traffic.buckets[bounds[-1]]
    return 1 - traffic.buckets[bound] / answers if answers else float("nan")


def _verdicts(axes: Any, trace: Trace) -> None:
    """A dot for each analysis, by verdict."""
    axes.set_title(f"Analyses, first run: {trace.state.message}", fontsize=11, loc="left")
    for row, (verdict, color) in enumerate(reversed(COLORS.items())):
        times = [point.time / 60 for point in trace.points if point.verdict == verdict]
        axes.plot(times, [row] * len(times), "o", color=color, markersize=3)
    axes.set_yticks(range(len(COLORS)), list(reversed(COLORS)), fontsize=8)
    axes.set_ylim(-0.6, len(COLORS) - 0.4)
