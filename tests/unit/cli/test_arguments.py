"""Faults in arguments are one line each."""

from pathlib import Path

import pytest

from predictor.cli.arguments import counts, directory, number, variant
from predictor.errors import BadSetting


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("ten", "'ten' is not a number"), ("0", "0 is not between 1 and 10"), ("nan", "not between")],
)
def test_a_number_has_bounds(text: str, sentence: str) -> None:
    with pytest.raises(BadSetting, match=f"--seconds: .*{sentence}|--seconds: {sentence}"):
        number("--seconds", text, minimum=1, maximum=10)
    assert number("--seconds", "2.5", minimum=1) == 2.5


@pytest.mark.parametrize("text", ["", "0", "1,,2", "1;2", "-1", "two", "1.5", "²"])
def test_a_malformed_list_of_counts_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match=r"--threads: .* is not a list of numbers like 1,2,4"):
        counts("--threads", text)


def test_counts_are_sorted_and_once() -> None:
    assert counts("--threads", "4, 1,2,2") == [1, 2, 4]


def test_a_directory_is_there(tmp_path: Path) -> None:
    assert directory(str(tmp_path)) == tmp_path
    with pytest.raises(BadSetting, match="nowhere: no such directory"):
        directory(str(tmp_path / "nowhere"))


def test_a_variant_is_one_of_those_that_there_are() -> None:
    assert variant("--variant", "auto") == "auto"
    assert variant("--variant", "int8") == "int8"
    with pytest.raises(BadSetting, match="--variant-a: 'fp8' is not one of auto, fp32, "):
        variant("--variant-a", "fp8")
