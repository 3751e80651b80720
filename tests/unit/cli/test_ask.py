"""The arguments of `predictor ask`: each fault is one line, and nothing is asked before."""

from pathlib import Path

import pytest

from predictor.cli import ask
from predictor.client.http import parse
from predictor.errors import BadSetting


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"[]", "--expect: the list has no numbers"),
        (b"[0.1,]", "--expect: not a list of numbers like -0.1,0.2"),
        (b"[0.1;0.2]", "--expect: not a list of numbers"),
        (b"[null]", "--expect: not a list of numbers"),
        (b"[NaN]", "--expect: not a list of numbers"),
        (b"[1e999]", "--expect: not a list of numbers"),
        (b'["0.1"]', "--expect: not a list of numbers"),
        (b"0.1", "--expect: not a list of numbers"),
        (b"\xff", "--expect: not a list of numbers"),
    ],
)
def test_a_malformed_list_of_components_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(BadSetting) as caught:
        ask.components("--expect", content)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_components_are_numbers_of_any_spelling() -> None:
    assert ask.components("--expect", b"[-0.5, 1, 2e-3]") == (-0.5, 1.0, 0.002)


def test_a_key_is_what_the_file_holds_without_its_newline(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"sk-0123\n")
    assert ask.read_key(str(file)) == "sk-0123"


@pytest.mark.parametrize("content", [b"", b" \n", b"two words", b"a\r\nHost: b", b"\xc3\xa4"])
def test_what_a_header_cannot_carry_is_no_key(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(
        BadSetting, match=r"--api-key-file .*: (the file must hold one key|the key is not plain)"
    ) as caught:
        ask.read_key(str(file))
    assert "words" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"--api-key-file .*gone: cannot be read: No such file"):
        ask.read_key(str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("model", "version", "path"),
    [
        ("", "", ""),
        ("minilm", "", "/v2/models/minilm"),
        ("a b/c", "2", "/v2/models/a%20b%2Fc/versions/2"),
    ],
)
def test_the_path_of_what_is_named(model: str, version: str, path: str) -> None:
    assert ask.place(parse("http://h:1"), model, version).path == path


def test_a_model_is_named_once() -> None:
    with pytest.raises(BadSetting, match="already names a model"):
        ask.place(parse("http://h/v2/models/m"), "m", "")
    with pytest.raises(BadSetting, match="name the --model as well"):
        ask.place(parse("http://h"), "", "2")


def test_a_key_is_in_no_representation_of_its_address() -> None:
    address = parse("http://h")
    assert "sk-secret" not in repr(type(address)(**vars(address) | {"key": "sk-secret"}))
