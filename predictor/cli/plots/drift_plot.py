"""Plot of a window of traffic beside its reference."""

from pathlib import Path
from typing import Any

import numpy as np

from predictor.cli.plots.figure import BLUE, GREY, ORANGE, new_figure, save
from predictor.drift.findings import Finding
from predictor.drift.measures import COSINE_CENTERS, NORM_CENTERS
from predictor.drift.scripts import SCRIPTS
from predictor.drift.sketch import LENGTHS, Sketch
from predictor.drift.statistics import Counts
from predictor.similarity import Floats

# Longer bars, in multiples of the threshold, are cut.
MOST_EFFECT = 5.0


def draw(reference: Sketch, window: Sketch, findings: list[Finding], path: Path) -> None:
    """Write the plot: the tests, then the distributions that they compare.

    Raises:
        BadSetting: it cannot be written.
    """
    figure = new_figure(13, 7.4)
    axes = figure.subplots(2, 3).ravel()
    _effects(axes[0], findings)
    _lengths(axes[1], reference, window)
    _scripts(axes[2], reference, window)
    _curves(axes[3], "Norms", NORM_CENTERS, reference.norms, window.norms)
    _curves(axes[4], "Cosines of pairs", COSINE_CENTERS, reference.cosines, window.cosines)
    _sample(axes[5], reference, window)
    for plot in axes:
        plot.spines[["top", "right"]].set_visible(False)
    sides = [("reference", BLUE, reference), ("window", ORANGE, window)]
    handles = [axes[3].plot([], [], color=color, linewidth=3)[0] for _, color, _ in sides]
    labels = [_label(name, sketch) for name, _, sketch in sides]
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    save(figure, path)


def _label(name: str, sketch: Sketch) -> str:
    model = sketch.identity
    label = f"{name}: {model.revision}, {model.variant}, {sketch.rows} rows"
    return label.replace("$", r"\$")


def _effects(axes: Any, findings: list[Finding]) -> None:
    """One bar per test: the statistic over its threshold."""
    ordered = sorted(findings, key=lambda finding: finding.effect)
    lengths = [min(MOST_EFFECT, finding.effect) for finding in ordered]
    colors = [ORANGE if finding.drifted else BLUE for finding in ordered]
    bars = axes.barh([finding.name for finding in ordered], lengths, color=colors)
    labels = [f"{finding.effect:.2f}" for finding in ordered]
    axes.bar_label(bars, labels, fontsize=8, color=GREY, padding=2)
    axes.axvline(1, color=GREY, linewidth=1, linestyle="--")
    axes.set_xlim(0, max(1.2, 1.15 * max(lengths)))
    axes.set_title("Statistic over its threshold", fontsize=11, loc="left")


def _lengths(axes: Any, reference: Sketch, window: Sketch) -> None:
    labels = [str(low) for low in LENGTHS]
    _bars(axes, labels, reference.lengths, window.lengths)
    axes.set_title("Tokens of a text, from", fontsize=11, loc="left")
    axes.tick_params(axis="x", labelrotation=60, labelsize=8)


def _scripts(axes: Any, reference: Sketch, window: Sketch) -> None:
    axes.set_title("Scripts, share of characters", fontsize=11, loc="left")
    if not reference.scripted or not window.scripted:
        _nothing(axes, "no texts, only token ids")
        return
    _bars(axes, list(SCRIPTS), reference.scripts, window.scripts)
    axes.tick_params(axis="x", labelrotation=60, labelsize=8)


def _bars(axes: Any, labels: list[str], before: Counts, after: Counts) -> None:
    """Shares side by side, in percent, without the bins that are empty in both."""
    kept = np.flatnonzero((before > 0) | (after > 0))
    places = np.arange(len(kept))
    for counts, color, offset in ((before, BLUE, -0.2), (after, ORANGE, 0.2)):
        axes.bar(places + offset, 100 * counts[kept] / counts.sum(), width=0.4, color=color)
    axes.set_xticks(places, [labels[place] for place in kept])
    axes.set_ylabel("%")


def _curves(axes: Any, title: str, centers: Floats, before: Counts, after: Counts) -> None:
    """Cumulative shares, which the Kolmogorov-Smirnov test compares."""
    axes.set_title(f"{title}, share up to", fontsize=11, loc="left")
    if not before.sum() or not after.sum():
        _nothing(axes, "no vectors")
        return
    for counts, color in ((before, BLUE), (after, ORANGE)):
        axes.plot(centers, 100 * np.cumsum(counts) / counts.sum(), color=color, linewidth=2)
    filled = centers[(before > 0) | (after > 0)]
    margin = 0.05 * (filled[-1] - filled[0]) + 0.02 * abs(filled[-1])
    axes.set_xlim(filled[0] - margin, filled[-1] + margin)
    axes.set_ylim(0, 102)
    axes.set_ylabel("%")


def _sample(axes: Any, reference: Sketch, window: Sketch) -> None:
    """The samples in the plane in which the reference is widest."""
    axes.set_title("A sample of the vectors, main plane", fontsize=11, loc="left")
    before = reference.sample.astype(np.float64)
    after = window.sample.astype(np.float64)
    if min(len(before), len(after)) < 2:
        _nothing(axes, "no vectors")
        return
    plane = np.linalg.svd(before - before.mean(axis=0), full_matrices=False)[2][:2].T
    for rows, color in ((before, BLUE), (after, ORANGE)):
        x, y = ((rows - before.mean(axis=0)) @ plane).T
        axes.scatter(x, y, s=9, color=color, alpha=0.6, linewidths=0)
    axes.set_xticks([])
    axes.set_yticks([])


def _nothing(axes: Any, text: str) -> None:
    axes.text(0.5, 0.4, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
    axes.set_axis_off()
