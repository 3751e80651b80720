"""The texts that come with the package: enough of them, and proof texts that no quantiser saw."""

import re
from pathlib import Path

import pytest

from predictor.bundle import corpus
from predictor.bundle.canonical import CANONICAL_TEXTS
from predictor.errors import BadModel

OVERLAP = 8


def runs_of_words(texts: list[str]) -> set[tuple[str, ...]]:
    """Every run of OVERLAP words, whatever their case and punctuation."""
    runs = set()
    for text in texts:
        words = re.findall(r"\w+", text.casefold())
        runs |= {tuple(words[i : i + OVERLAP]) for i in range(len(words) - OVERLAP + 1)}
    return runs


@pytest.mark.parametrize("texts", [corpus.calibration, corpus.verification])
def test_there_are_enough_texts_and_none_twice(texts: object) -> None:
    assert callable(texts)
    listed = texts()
    assert len(listed) >= 300
    assert len(set(listed)) == len(listed)
    assert all(text.strip() for text in listed)


def test_no_text_is_both_calibrated_and_verified_on() -> None:
    texts = {" ".join(text.casefold().split()) for text in corpus.calibration()}
    assert not texts & {" ".join(text.casefold().split()) for text in corpus.verification()}


def test_no_eight_words_in_a_row_are_in_both() -> None:
    shared = runs_of_words(corpus.calibration()) & runs_of_words(corpus.verification())
    assert [" ".join(words) for words in sorted(shared)] == []


def test_the_canonical_texts_were_not_calibrated_on() -> None:
    shared = runs_of_words(corpus.calibration()) & runs_of_words(CANONICAL_TEXTS)
    assert [" ".join(words) for words in sorted(shared)] == []


@pytest.mark.parametrize("texts", [corpus.calibration, corpus.verification])
def test_short_long_and_other_scripts_are_among_them(texts: object) -> None:
    assert callable(texts)
    listed = texts()
    lengths = sorted(len(text.split()) for text in listed)
    assert lengths[0] <= 3
    assert lengths[-1] >= 100
    for script in (r"[\u0430-\u044f]", "[一-鿿]", "[؀-ۿ]", "[ぁ-ヿ]"):
        assert any(re.search(script, text) for text in listed), script


def test_line_breaks_are_written_as_backslash_n_and_a_head_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("# where from\n# licence\none\\ntwo\n\n# three\n", encoding="utf-8")
    assert corpus.read_texts(path) == ["one\ntwo", "# three"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), (b"\xff\xfe", "cannot be read"), (b"# head\n\n", "no texts")],
)
def test_a_file_without_texts_is_a_sentence(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "texts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadModel, match=sentence):
        corpus.read_texts(path)
