"""A tokenizer that is made here gives the ids of the one that transformers saved."""

import json
from pathlib import Path
from typing import Any

import pytest

from predictor.bundle.source import read_source
from predictor.bundle.tokenizer_parts import read_tokenizer
from predictor.engine.made_tokenizer import tokenizer_bytes
from predictor.engine.tokenizer import Tokenizer
from predictor.errors import BadModel
from tests.reference.families.folders import assemble
from tests.reference.families.texts import family_texts

CASED = "Paris résumé 東京 [MASK] Zürich"


def ids(folder: Path, text: str = "") -> list[list[int]]:
    source = read_source(folder)
    content = tokenizer_bytes(source.tokenizer, source.made_tokenizer)
    tokenizer = Tokenizer(source.tokenizer, source.max_length, content=content)
    return tokenizer.encode([text] if text else [*family_texts(), CASED]).ids


def update(path: Path, **keys: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()) | keys))


def make_slow(folder: Path) -> None:
    """Leave the files of the slow tokenizer instead of tokenizer.json."""
    path = folder / "tokenizer.json"
    content = json.loads(path.read_bytes())
    model = content["model"]
    ordered = sorted(model["vocab"], key=model["vocab"].__getitem__)
    if model["type"] == "WordPiece":
        (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in ordered))
    else:
        (folder / "vocab.json").write_text(json.dumps(model["vocab"]))
        merges = (m if isinstance(m, str) else " ".join(m) for m in model["merges"])
        (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
        update(folder / "tokenizer_config.json", add_prefix_space=True)
    path.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_bytes())
    del config["tokenizer_class"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("family", ["bert", "distilbert", "mpnet", "roberta"])
def test_a_vocabulary_is_enough(tmp_path: Path, family: str) -> None:
    folder = assemble(family, tmp_path / family)
    expected = ids(folder)
    make_slow(folder)
    assert ids(folder) == expected
    (sentence,) = read_source(folder).assumed
    assert sentence.startswith("the tokenizer is made from ")


def test_a_sentencepiece_model_is_refused_with_the_command_that_converts_it(
    tmp_path: Path,
) -> None:
    folder = assemble("xlm-roberta", tmp_path / "xlm")
    (folder / "tokenizer.json").rename(folder / "sentencepiece.bpe.model")
    with pytest.raises(BadModel, match=r"none is made here from sentencepiece.bpe.model") as error:
        read_source(folder)
    assert f"T.from_pretrained('{folder}').save_pretrained('{folder}')" in str(error.value)


def test_added_tokens_are_not_left_out(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    make_slow(folder)
    (folder / "added_tokens.json").write_text('{"[NEW]": 324}')
    with pytest.raises(BadModel, match=r"none is made here from vocab.txt, added_tokens.json"):
        read_source(folder)


@pytest.mark.parametrize("name", ["BertTokenizer", "BertTokenizerFast", "DistilBertTokenizer"])
def test_settings_go_before_the_file_for_berts_tokenizers(tmp_path: Path, name: str) -> None:
    """ "Paris" is unknown to an uncased vocabulary if nobody lower-cases it."""
    folder = assemble("bert", tmp_path / "bert")
    right = ids(folder, "Paris")
    path = folder / "tokenizer.json"
    update(path, normalizer=json.loads(path.read_bytes())["normalizer"] | {"lowercase": False})
    wrong = ids(folder, "Paris")
    assert wrong != right
    update(folder / "tokenizer_config.json", tokenizer_class=name, do_lower_case=True)
    assert ids(folder, "Paris") == right
    (sentence,) = read_source(folder).assumed
    assert "do_lower_case true (tokenizer.json: false)" in sentence


@pytest.mark.parametrize(
    ("key", "text"), [("strip_accents", "résumé"), ("tokenize_chinese_chars", "東京")]
)
def test_every_setting_counts(tmp_path: Path, key: str, text: str) -> None:
    folder = assemble("bert", tmp_path / "bert")
    update(folder / "tokenizer_config.json", tokenizer_class="BertTokenizer", **{key: False})
    parts, _ = read_tokenizer(
        folder, json.loads((folder / "tokenizer_config.json").read_bytes()), "bert"
    )
    assert parts is not None
    assert list(parts.normalizer.values()) == [False]
    assert ids(folder, text)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("TokenizersBackend", {"do_lower_case": False}),
        ("PreTrainedTokenizerFast", {"do_lower_case": False}),
        ("BertTokenizer", {"do_lower_case": True, "strip_accents": None}),
        ("BertTokenizer", {"strip_accents": True}),
        ("BertTokenizer", {}),
    ],
)
def test_the_file_is_taken_as_it_is_where_nothing_contradicts_it(
    tmp_path: Path, name: str, settings: dict[str, Any]
) -> None:
    folder = assemble("bert", tmp_path / "bert")
    update(folder / "tokenizer_config.json", tokenizer_class=name, **settings)
    source = read_source(folder)
    assert source.made_tokenizer is None
    assert tokenizer_bytes(source.tokenizer, None) == source.tokenizer.read_bytes()


def test_a_vocabulary_without_its_special_tokens_is_refused(tmp_path: Path) -> None:
    folder = assemble("bert", tmp_path / "bert")
    make_slow(folder)
    (folder / "vocab.txt").write_text("a\nb\n")
    source = read_source(folder)
    with pytest.raises(BadModel, match=r"vocab.txt: not a readable tokenizer"):
        tokenizer_bytes(source.tokenizer, source.made_tokenizer)
