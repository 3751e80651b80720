"""A comparison as text for a terminal."""

from predictor.comparison.report import ComparedModel, Comparison, DifferingText
from predictor.similarity import spread

# Texts whose vectors are this close rank the same: they are not listed.
SAME = 1 - 1e-6


def as_text(comparison: Comparison) -> str:
    lines = [
        _side("A", comparison.a),
        _side("B", comparison.b),
        "",
        f"texts       {comparison.texts}{_truncation(comparison)}",
        f"dimensions  {_dimensions(comparison)}",
        f"cosine      {_cosine(comparison)}",
        f"neighbours  {_overlap(comparison)}",
        f"length B/A  {_lengths(comparison)}",
    ]
    return "\n".join([*lines, *_differing(comparison)])


def _side(letter: str, side: ComparedModel) -> str:
    return f"{letter}  {side.name}: {side.model}"


def _truncation(comparison: Comparison) -> str:
    a, b = comparison.a.truncated, comparison.b.truncated
    return f"; truncated to the model's limit: A {a}, B {b}" if a or b else "; none was truncated"


def _dimensions(comparison: Comparison) -> str:
    a, b = comparison.a.dimensions, comparison.b.dimensions
    return str(a) if a == b else f"A {a}, B {b}"


def _cosine(comparison: Comparison) -> str:
    cosine = comparison.cosine
    if cosine is None:
        return "not defined: the dimensions differ; see the neighbours"
    return (
        f"min {cosine.least:.7f}  p1 {cosine.p1:.7f}  p5 {cosine.p5:.7f}  "
        f"median {cosine.median:.7f}  mean {cosine.mean:.7f}"
    )


def _overlap(comparison: Comparison) -> str:
    overlap, k = comparison.overlap, comparison.neighbours
    if overlap is None:
        return "not defined: three texts or more are needed"
    few = "" if k == 10 else f" ({k} and not 10: there are few texts)"
    return f"of {k} nearest{few}, in common: mean {overlap.mean:.4f}  min {overlap.least:.4f}"


def _lengths(comparison: Comparison) -> str:
    a, b = comparison.a.unit, comparison.b.unit
    if a != b:
        text, other = ("A", "B") if a else ("B", "A")
        return f"not comparable: {text} gives vectors of length 1, {other} their own lengths"
    lengths = spread(comparison.lengths)
    figures = f"mean {lengths.mean:.6f}  min {lengths.least:.6f}  max {lengths.greatest:.6f}"
    return figures + ("  (both give length 1)" if a else "  (not normalised)")


def _differing(comparison: Comparison) -> list[str]:
    texts = comparison.differing
    if not texts or all(text.cosine is not None and text.cosine > SAME for text in texts):
        return []
    return ["", "the texts that differ most:", *map(_text, texts)]


def _text(text: DifferingText) -> str:
    cosine = "" if text.cosine is None else f"cosine {text.cosine:.6f}  "
    overlap = "" if text.overlap is None else f"overlap {text.overlap:.2f}  "
    return f"  {cosine}{overlap}{text.begins}"
