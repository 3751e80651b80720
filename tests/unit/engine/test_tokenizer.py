"""Limits, truncation that is reported, and ids that the client made."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as HuggingFaceTokenizer

from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel, EngineError, InputTooLong, InvalidInput

CLS, SEP = 101, 102


@pytest.fixture(scope="module")
def tokenizer(model_dir: Path) -> Tokenizer:
    return Tokenizer(model_dir / "tokenizer.json", 256)


@pytest.fixture(scope="module")
def small(model_dir: Path) -> Tokenizer:
    return Tokenizer(model_dir / "tokenizer.json", 8)


def test_the_files_own_truncation_and_padding_are_not_used(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode(["a", "word " * 200])
    assert [len(row) for row in tokens.ids] == [3, 202]
    assert tokens.truncated == []


@pytest.mark.parametrize("words", [5, 6, 7, 100])
def test_truncation_equals_the_librarys_own(small: Tokenizer, model_dir: Path, words: int) -> None:
    text = " ".join(f"word{n}" for n in range(words))
    library = HuggingFaceTokenizer.from_file(str(model_dir / "tokenizer.json"))
    library.no_padding()
    library.enable_truncation(8)
    assert small.encode([text]).ids[0] == library.encode(text).ids
    library.enable_truncation(8, direction="left")
    assert small.encode([text], direction="left").ids[0] == library.encode(text).ids


def test_truncation_is_reported_by_index(small: Tokenizer) -> None:
    tokens = small.encode(["short", "word " * 20, "short", "word " * 20])
    assert tokens.truncated == [1, 3]
    assert tokens.total == 3 + 8 + 3 + 8


def test_without_truncation_it_is_an_error_with_length_and_limit(small: Tokenizer) -> None:
    with pytest.raises(InputTooLong, match=r"inputs\[1\] has 22 tokens; the model takes 8"):
        small.encode(["short", "word " * 20], truncate=False)


def test_a_lone_surrogate_is_named(tokenizer: Tokenizer) -> None:
    with pytest.raises(InvalidInput, match=r"inputs\[1\] is not valid Unicode"):
        tokenizer.encode(["fine", "bad \ud800"])


def test_ids_get_special_tokens_only_where_they_lack_them(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.wrap([[7592], [CLS, 7592, SEP], [CLS]])
    assert tokens.ids == [[CLS, 7592, SEP], [CLS, 7592, SEP], [CLS, CLS, SEP]]


@pytest.mark.parametrize("token", [-1, 30522, 2**63])
def test_ids_outside_of_the_vocabulary_are_refused(tokenizer: Tokenizer, token: int) -> None:
    with pytest.raises(InvalidInput, match=rf"inputs\[0\] has token id {token}; .* 0 to 30521"):
        tokenizer.wrap([[token]])
    with pytest.raises(InvalidInput, match=rf"token id {token}"):
        tokenizer.decode([token])


def test_long_ids_are_cut_and_reported(small: Tokenizer) -> None:
    tokens = small.wrap([[7592] * 20])
    assert tokens.ids == [[CLS, *[7592] * 6, SEP]]
    assert tokens.truncated == [0]


def test_pieces_have_their_place_in_the_text(tokenizer: Tokenizer) -> None:
    assert tokenizer.pieces("hello world", add_special_tokens=True) == [
        (CLS, "[CLS]", True, None),
        (7592, "hello", False, (0, 5)),
        (2088, "world", False, (6, 11)),
        (SEP, "[SEP]", True, None),
    ]


def test_a_file_that_is_no_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(BadModel, match="not a readable tokenizer"):
        Tokenizer(path, 256)


# Panics of the library


Change = dict[str, Any]
# Panics when the file is read, when the first text is encoded, and at some texts only.
AT_ONCE: Change = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}
AT_FIRST_TEXT: Change = {"pre_tokenizer": {"type": "FixedLength", "length": 0}}
AT_SOME_TEXTS: Change = {
    "normalizer": {"type": "Replace", "pattern": {"Regex": "(q|qq)+$"}, "content": "x"}
}
PANICS = "q" * 40 + "b"


def changed(model_dir: Path, folder: Path, change: Change) -> Path:
    content = json.loads((model_dir / "tokenizer.json").read_text()) | change
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("change", [AT_ONCE, AT_FIRST_TEXT], ids=["at once", "at a text"])
def test_a_file_that_makes_the_library_panic_is_a_bad_model(
    model_dir: Path, tmp_path: Path, change: Change
) -> None:
    with pytest.raises(BadModel, match=r"not a readable tokenizer: the library panicked$"):
        Tokenizer(changed(model_dir, tmp_path, change), 256)


@pytest.mark.parametrize("text", [PANICS, PANICS + "b" * 300], ids=["short", "long"])
def test_a_text_that_makes_the_library_panic_is_an_error_of_that_request(
    model_dir: Path, tmp_path: Path, text: str
) -> None:
    tokenizer = Tokenizer(changed(model_dir, tmp_path, AT_SOME_TEXTS), 256)
    before = tokenizer.ids(["hello"])
    for call in (
        lambda: tokenizer.ids([text]),
        lambda: tokenizer.encode(["a", text]),
        lambda: tokenizer.pieces(text, add_special_tokens=True),
    ):
        with pytest.raises(EngineError, match=r"^the tokenizer failed on this request$") as raised:
            call()
        assert raised.value.__cause__ is None
    assert tokenizer.ids(["hello"]) == before
