"""From vectors to figures, thresholds and words."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from predictor.comparison import plot
from predictor.comparison.report import Comparison, as_json, compare, is_unit
from predictor.comparison.vectors import Vectors
from predictor.comparison.words import as_text
from predictor.errors import BadSetting
from predictor.types import FloatRows

RANDOM = np.random.default_rng(5)
ROWS: FloatRows = RANDOM.standard_normal((40, 16), dtype=np.float32)
TEXTS = [f"text number {number}" for number in range(40)]


def unit(rows: FloatRows) -> FloatRows:
    result: FloatRows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result


def compared(left: FloatRows, right: FloatRows, texts: list[str] | None = None) -> Comparison:
    a, b = Vectors("A dir", "bert, fp32", left, 0), Vectors("http://b", "m, version 2", right, 3)
    return compare(a, b, texts or TEXTS[: len(left)])


def test_the_same_vectors_are_the_same() -> None:
    found = compared(ROWS, ROWS)
    assert found.cosine
    assert found.cosine.least == pytest.approx(1)
    assert found.overlap
    assert found.overlap.least == 1
    assert (found.neighbours, found.texts) == (10, 40)
    assert found.missed(0.9999999, 1.0) == []
    assert "differ most" not in as_text(found)


def test_the_text_that_moved_comes_first() -> None:
    moved = ROWS.copy()
    moved[7] = -moved[7]
    found = compared(ROWS, moved)
    assert found.differing[0].index == 7
    assert found.differing[0].cosine == pytest.approx(-1)
    assert len(found.differing) == 5
    assert found.missed(0.9, None) == ["smallest cosine -1.0000000, --min-cosine 0.9"]
    assert found.missed(None, 0.1) == []
    words = as_text(found)
    assert "A  A dir: bert, fp32" in words
    assert "text number 7" in words
    assert "cut to the model's length: A 0, B 3" in words


def test_of_other_widths_only_the_neighbours_are_compared() -> None:
    found = compared(ROWS, ROWS[:, :8])
    assert found.cosine is None
    assert found.overlap
    assert 0 < found.overlap.mean < 1
    assert all(one.cosine is None for one in found.differing)
    words = as_text(found)
    assert "cosine      not defined: the widths differ" in words
    assert "dimensions  A 16, B 8" in words
    (missed,) = found.missed(0.5, None)
    assert missed == "smallest cosine not defined (the widths differ), --min-cosine 0.5"
    assert as_json(found)["cosine"] is None


@pytest.mark.parametrize(("count", "k"), [(3, 1), (9, 4), (21, 10), (40, 10)])
def test_few_texts_have_fewer_neighbours_and_it_is_said(count: int, k: int) -> None:
    found = compared(ROWS[:count], ROWS[:count])
    assert found.neighbours == k
    said = f"of {k} nearest ({k} and not 10: there are few texts)"
    assert (said in as_text(found)) == (k < 10)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_texts_for_neighbours(count: int) -> None:
    found = compared(ROWS[:count], ROWS[:count])
    assert found.overlap is None
    assert "three texts or more" in as_text(found)
    assert found.missed(0.99, None) == []
    (missed,) = found.missed(None, 0.1)
    assert "not defined (too few texts)" in missed


def test_lengths_are_compared_where_both_have_their_own() -> None:
    found = compared(ROWS, 2 * ROWS)
    assert "mean 2.000000  min 2.000000  max 2.000000  (not normalised)" in as_text(found)
    assert "A gives vectors of length 1" in as_text(compared(unit(ROWS), ROWS))
    assert "B gives vectors of length 1" in as_text(compared(ROWS, unit(ROWS)))
    assert "both give length 1" in as_text(compared(unit(ROWS), unit(ROWS)))
    assert is_unit(unit(ROWS))
    assert not is_unit(ROWS)


def test_what_is_no_number_misses_every_threshold() -> None:
    broken = ROWS.copy()
    broken[3, 3] = np.nan
    assert len(compared(ROWS, broken).missed(-1, None)) == 1


def test_a_text_begins_in_one_line_and_sixty_characters() -> None:
    found = compared(ROWS[:1], -ROWS[:1], ["first line\n\tsecond " + "x" * 100])
    assert found.differing[0].begins == ("first line second " + "x" * 100)[:60]


def test_the_json_has_all_figures() -> None:
    content = json.loads(json.dumps(as_json(compared(ROWS, ROWS))))
    assert set(content["cosine"]) == {"min", "p1", "p5", "median", "mean", "max"}
    assert content["overlap"]["mean"] == 1
    assert content["a"] == {
        "name": "A dir", "what": "bert, fp32", "dimensions": 16, "truncated": 0, "unit": False,
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
    plot.check(path)
    plot.draw(compared(ROWS[:count], right[:count]), path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_the_title_has_both_sides_and_the_figures() -> None:
    first, second, third = plot.title(compared(ROWS, ROWS)).splitlines()
    assert first == "A  A dir: bert, fp32, 16 dimensions"
    assert second.startswith("B  http://b: m, version 2")
    assert "40 texts; cosine min 1.000000" in third


def test_the_axis_of_cosines() -> None:
    assert plot.cosine_label(-3) == "0.999"
    assert plot.cosine_label(-7) == "0.9999999"
    assert plot.cosine_label(0) == "0"
    distances = plot.ordered_distances(np.array([1.0, 0.9, 0.9995]))
    assert distances.tolist() == sorted(distances, reverse=True)
    assert distances[-1] == plot.FLOOR
    low, high = plot.decades(distances)
    assert (low, high) == (-7, 0)
    assert plot.decades(np.array([3e-6, 2e-6])) == (-6, -4)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [("out.jpeg", "end in .png, .svg or .pdf"), ("nowhere/out.png", "there is no directory")],
)
def test_where_no_picture_can_be_is_told_before_the_work(path: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=sentence):
        plot.check(Path(path))


def test_without_matplotlib_the_mend_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadSetting, match=r"pip install 'predictor\[plot\]'"):
        plot.check(Path("out.png"))


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "out.png").mkdir()
    with pytest.raises(BadSetting, match="cannot be written"):
        plot.draw(compared(ROWS, ROWS), tmp_path / "out.png")


def test_one_text_far_away_among_close_ones_stays_in_the_picture() -> None:
    moved = ROWS + np.float32(1e-3)
    moved[4] = -moved[4]
    axes = Figure().subplots()
    plot._cosines(axes, compared(ROWS, moved))
    bottom, top = axes.get_ylim()
    assert bottom > top, "what is close stands high"
    heights = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
    assert ((heights <= bottom) & (heights >= top)).all()
    assert axes.texts[0].get_text().startswith("least -0.99999")
