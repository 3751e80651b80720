"""Ids of texts that came before: the same, of the same tokenizer, within a bound."""

from collections.abc import Sequence

import pytest

from predictor.cache.token_memo import TokenMemo
from predictor.errors import InvalidInput
from predictor.settings import CacheSettings


class Counting:
    """A tokenizer of characters that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        self.asked += texts
        if any("\ud800" in text for text in texts):
            raise InvalidInput("not valid Unicode")
        return [[101, *map(ord, text), 102] for text in texts]


def test_the_same_text_is_encoded_once_and_gives_the_same_ids() -> None:
    counting = Counting()
    memo = TokenMemo(counting.encode, CacheSettings())
    first = memo.ids(["ab", "", "c", "ab"])
    assert first == [[101, 97, 98, 102], [101, 102], [101, 99, 102], [101, 97, 98, 102]]
    counting.asked.clear()
    assert memo.ids(["c", "new", "ab"]) == [first[2], [101, 110, 101, 119, 102], first[0]]
    assert counting.asked == ["new"]


def test_what_is_given_out_may_be_changed() -> None:
    memo = TokenMemo(Counting().encode, CacheSettings())
    memo.ids(["ab"])[0].clear()
    memo.ids(["ab"])[0].clear()
    assert memo.ids(["ab"]) == [[101, 97, 98, 102]]


def test_errors_are_passed_on_and_not_remembered() -> None:
    counting = Counting()
    memo = TokenMemo(counting.encode, CacheSettings())
    for _ in range(2):
        with pytest.raises(InvalidInput):
            memo.ids(["a", "\ud800"])
    assert counting.asked == ["a", "\ud800", "a", "\ud800"]


def test_it_is_bounded() -> None:
    counting = Counting()
    memo = TokenMemo(counting.encode, CacheSettings(cache_mb=1))
    for number in range(2000):
        memo.ids([f"{number:04}"])
    counting.asked.clear()
    for number in range(2000):
        memo.ids([f"{number:04}"])
    assert len(counting.asked) > 1500
