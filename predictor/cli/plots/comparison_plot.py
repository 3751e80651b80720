"""Plot of a comparison: cosines of two models, and the neighbours that they share."""

from pathlib import Path
from typing import Any

import numpy as np

from predictor.cli.plots.figure import BLUE, GREY, ORANGE, new_figure, save
from predictor.comparison.report import Comparison
from predictor.similarity import Floats, Spread, spread

# Below this a cosine distance of float32 vectors is rounding.
FLOOR = 1e-7
# If the closest text is farther than this, a logarithmic axis would hide the differences.
FAR = 0.05


def draw(comparison: Comparison, path: Path) -> None:
    """Write the plot: cosines on the left, shared neighbours on the right.

    Raises:
        BadSetting: it cannot be written.
    """
    figure = new_figure(11, 5.2)
    left, right = figure.subplots(1, 2)
    _cosines(left, comparison)
    _neighbours(right, comparison)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title(comparison), fontsize=10, x=0.01, ha="left", linespacing=1.5)
    save(figure, path)


def title(comparison: Comparison) -> str:
    """The two sides, and the figures in one line."""
    cosine, overlap = comparison.cosine, comparison.overlap
    figures = [f"{comparison.texts} texts"]
    if cosine:
        figures.append(f"cosine min {cosine.least:.6f}, mean {cosine.mean:.6f}")
    if overlap:
        figures.append(f"common neighbours mean {overlap.mean:.3f}, min {overlap.least:.2f}")
    sides = [
        f"{letter}  {_short(side.name)}: {side.model}, {side.dimensions} dimensions"
        for letter, side in (("A", comparison.a), ("B", comparison.b))
    ]
    return "\n".join([*sides, "; ".join(figures)]).replace("$", r"\$")


def _short(name: str, room: int = 60) -> str:
    return name if len(name) <= room else "…" + name[-room + 1 :]


def _cosines(axes: Any, comparison: Comparison) -> None:
    axes.set_title("Cosine of A's and B's vector", fontsize=11, loc="left")
    if comparison.cosines is None:
        _note(axes, "not defined: the vectors\nhave different dimensions")
        axes.set_axis_off()
        return
    heights = distances = ordered_distances(comparison.cosines)
    if distances[-1] < FAR:
        low, high = decades(distances)
        heights = np.minimum(distances, 1)
        axes.set_yscale("log")
        axes.set_ylim(10.0**high, 10.0**low)  # reversed: similar texts are at the top
        powers = range(low, high + 1)
        axes.set_yticks([10.0**power for power in powers], [cosine_label(p) for p in powers])
        axes.minorticks_off()
    else:
        heights = 1 - distances
        axes.set_ylim(min(0.0, 1.4 * float(heights[0])), 1)
    _curve(axes, heights, spread(comparison.cosines))
    if distances[0] <= FLOOR:
        _note(axes, "equal but for rounding")


def _curve(axes: Any, heights: Floats, cosines: Spread) -> None:
    """One point per text, the most different first; two are labelled with their cosines."""
    places = 100 * (np.arange(len(heights)) + 0.5) / len(heights)
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.plot(places, heights, color=BLUE, linewidth=2)
    marked = (
        (0, f"least {cosines.least:.6f}"),
        (len(heights) // 2, f"median {cosines.median:.6f}"),
    )
    for index, label in marked:
        place = (places[index], heights[index])
        axes.plot(*place, "o", color=BLUE, markersize=5, clip_on=False)
        axes.annotate(label, place, (7, -12), textcoords="offset points", fontsize=9, color=BLUE)
    axes.set_xlim(0, 100)
    axes.set_xlabel("texts, the most different first (%)")


def ordered_distances(cosines: Floats) -> Floats:
    """1 - cosine, descending, at least FLOOR: a logarithmic axis cannot show 0."""
    result: Floats = np.sort(np.maximum(1 - cosines, FLOOR))[::-1]
    return result


def decades(distances: Floats) -> tuple[int, int]:
    """Exponents of ten that enclose the distances; at least two decades apart."""
    low = int(np.floor(np.log10(distances.min())))
    high = min(0, int(np.ceil(np.log10(1.5 * distances.max()))))
    return low, max(high, low + 2)


def cosine_label(power: int) -> str:
    """The cosine at a distance of ten to this power, as many nines as it has."""
    if power == 0:
        return "0"
    return f"{1 - 10.0**power:.{-power}f}"


def _neighbours(axes: Any, comparison: Comparison) -> None:
    k = comparison.neighbours
    axes.set_title(f"Nearest texts that A and B share, of {k or 10}", fontsize=11, loc="left")
    if comparison.overlaps is None:
        _note(axes, "not defined: three texts\nor more are needed")
        axes.set_axis_off()
        return
    counts = np.bincount(np.rint(comparison.overlaps * k).astype(int), minlength=k + 1)
    shares = 100 * counts / comparison.texts
    bars = axes.bar(range(k + 1), shares, color=ORANGE, width=0.8)
    labels = [f"{share:.0f}" if share >= 1 else "<1" if share else "" for share in shares]
    axes.bar_label(bars, labels, fontsize=8, color=GREY, padding=2)
    axes.set_xticks(range(k + 1))
    axes.set_ylim(0, min(112, 1.15 * float(shares.max())))
    axes.set_xlabel("shared neighbours")
    axes.set_ylabel("texts (%)")


def _note(axes: Any, text: str) -> None:
    axes.text(0.5, 0.4, text, ha="center", va="center", color=GREY, transform=axes.transAxes)
