"""From vectors to figures, thresholds and words."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from predictor.cli.plots import comparison_plot, figure
from predictor.cli.reports.comparison_report import as_text
from predictor.comparison.report import Comparison, as_json, compare, is_unit
from predictor.comparison.vectors import ModelVectors
from predictor.errors import BadSetting
from predictor.types import FloatRows

RANDOM = np.random.default_rng(5)
ROWS: FloatRows = RANDOM.standard_normal((40, 16), dtype=np.float32)
TEXTS = [f"text number {number}" for number in range(40)]


def unit(rows: FloatRows) -> FloatRows:
    result: FloatRows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def compared(left: FloatRows, right: FloatRows, texts: list[str] | None = None) -> Comparison:
    a, b = (
        ModelVectors("A dir", "bert, fp32", left, 0),
        ModelVectors("http://b", "m, version 2", right, 3),
    )
    return compare(a, b, texts or TEXTS[: len(left)])


def test_the_same_vectors_are_the_same() -> None:
    comparison = compared(ROWS, ROWS)
    assert comparison.cosine
    assert comparison.cosine.least == pytest.approx(1)
    assert comparison.overlap
    assert comparison.overlap.least == 1
    assert (comparison.neighbours, comparison.texts) == (10, 40)
    assert comparison.missed_thresholds(0.9999999, 1.0) == []
    assert "differ most" not in as_text(comparison)


def test_the_text_that_moved_comes_first() -> None:
    moved = ROWS.copy()
    moved[7] = -moved[7]
    comparison = compared(ROWS, moved)
    assert comparison.differing[0].index == 7
    assert comparison.differing[0].cosine == pytest.approx(-1)
    assert len(comparison.differing) == 5
    assert comparison.missed_thresholds(0.9, None) == [
        "smallest cosine -1.0000000, --min-cosine 0.9"
    ]
    assert comparison.missed_thresholds(None, 0.1) == []
    words = as_text(comparison)
    assert "A  A dir: bert, fp32" in words
    assert "text number 7" in words
    assert "truncated to the model's limit: A 0, B 3" in words


def test_of_other_widths_only_the_neighbours_are_compared() -> None:
    comparison = compared(ROWS, ROWS[:, :8])
    assert comparison.cosine is None
    assert comparison.overlap
    assert 0 < comparison.overlap.mean < 1
    assert all(entry.cosine is None for entry in comparison.differing)
    words = as_text(comparison)
    assert "cosine      not defined: the dimensions differ; see the neighbours" in words
    assert "dimensions  A 16, B 8" in words
    (missed_thresholds,) = comparison.missed_thresholds(0.5, None)
    assert (
        missed_thresholds == "smallest cosine not defined (the dimensions differ), --min-cosine 0.5"
    )
    assert as_json(comparison)["cosine"] is None


@pytest.mark.parametrize(("count", "k"), [(3, 1), (9, 4), (21, 10), (40, 10)])
def test_few_texts_have_fewer_neighbours_and_it_is_said(count: int, k: int) -> None:
    comparison = compared(ROWS[:count], ROWS[:count])
    assert comparison.neighbours == k
    phrase = f"of {k} nearest ({k} and not 10: there are few texts)"
    assert (phrase in as_text(comparison)) == (k < 10)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_texts_for_neighbours(count: int) -> None:
    comparison = compared(ROWS[:count], ROWS[:count])
    assert comparison.overlap is None
    assert "three texts or more" in as_text(comparison)
    assert comparison.missed_thresholds(0.99, None) == []
    (missed_thresholds,) = comparison.missed_thresholds(None, 0.1)
    assert "not defined (too few texts)" in missed_thresholds


def test_lengths_are_compared_where_both_have_their_own() -> None:
    comparison = compared(ROWS, 2 * ROWS)
    assert "mean 2.000000  min 2.000000  max 2.000000  (not normalised)" in as_text(comparison)
    assert "A gives vectors of length 1" in as_text(compared(unit(ROWS), ROWS))
    assert "B gives vectors of length 1" in as_text(compared(ROWS, unit(ROWS)))
    assert "both give length 1" in as_text(compared(unit(ROWS), unit(ROWS)))
    assert is_unit(unit(ROWS))
    assert not is_unit(ROWS)


def test_not_a_number_misses_every_threshold() -> None:
    broken = ROWS.copy()
    broken[3, 3] = np.nan
    assert len(compared(ROWS, broken).missed_thresholds(-1, None)) == 1


def test_a_text_begins_in_one_line_and_sixty_characters() -> None:
    comparison = compared(ROWS[:1], -ROWS[:1], ["first line\n\tsecond " + "x" * 100])
    assert comparison.differing[0].begins == ("first line second " + "x" * 100)[:60]


def test_the_json_has_all_figures() -> None:
    content = json.loads(json.dumps(as_json(compared(ROWS, ROWS))))
    assert set(content["cosine"]) == {"min", "p1", "p5", "median", "mean", "max"}
    assert content["overlap"]["mean"] == 1
    assert content["a"] == {
        "name": "A dir", "model": "bert, fp32", "dimensions": 16, "truncated": 0, "unit": False,
    }  # fmt: skip
    assert len(content["differing"]) == 5


# The picture


@pytest.mark.parametrize(
    "right",
    [ROWS, ROWS + 1e-3, -ROWS, ROWS[:, :8]],
    ids=["the same", "close", "opposite", "another width"],
)
@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_picture_can_be_drawn(tmp_path: Path, right: FloatRows, count: int) -> None:
    path = tmp_path / "out.png"
    figure.check(path)
    comparison_plot.draw(compared(ROWS[:count], right[:count]), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_title_has_both_sides_and_the_figures() -> None:
    first, second, third = comparison_plot.title(compared(ROWS, ROWS)).splitlines()
    assert first == "A  A dir: bert, fp32, 16 dimensions"
    assert second.startswith("B  http://b: m, version 2")
    assert "40 texts; cosine min 1.000000" in third


def test_the_axis_of_cosines() -> None:
    assert comparison_plot.cosine_label(-3) == "0.999"
    assert comparison_plot.cosine_label(-7) == "0.9999999"
    assert comparison_plot.cosine_label(0) == "0"
    distances = comparison_plot.ordered_distances(np.array([1.0, 0.9, 0.9995]))
    assert distances.tolist() == sorted(distances, reverse=True)
    assert distances[-1] == comparison_plot.FLOOR
    low, high = comparison_plot.decades(distances)
    assert (low, high) == (-7, 0)
    assert comparison_plot.decades(np.array([3e-6, 2e-6])) == (-6, -4)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("out.jpeg", "end in .png, .svg or .pdf"), ("nowhere/out.png", "there is no directory")],
)
def test_an_unwritable_picture_is_refused_before_the_work(path: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        figure.check(Path(path))


def test_without_matplotlib_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"pip install 'matplotlib>=3.9'"):
        figure.check(Path("out.png"))


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(BadSetting, match="cannot be written"):
        comparison_plot.draw(compared(ROWS, ROWS), tmp_path / "out.png")


def test_one_text_far_away_among_close_ones_stays_in_the_picture() -> None:
    moved = ROWS + np.float32(1e-3)
    moved[4] = -moved[4]
    axes = Figure().subplots()
    comparison_plot._cosines(axes, compared(ROWS, moved))
    bottom, top = axes.get_ylim()
    assert bottom > top, "what is close stands high"
    heights = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
    assert ((heights <= bottom) & (heights >= top)).all()
    assert axes.texts[0].get_text().startswith("least -0.99999")
