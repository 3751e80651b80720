"""Ids of texts that came before: the same, of the same tokenizer, within a bound."""

from collections.abc import Callable, Sequence

import pytest

from predictor.cache.token_id_cache import TokenIdCache
from predictor.errors import InvalidInput
from predictor.settings import CacheSettings
from predictor.types import Direction


class Counting:
    """A tokenizer of characters that remembers what it was asked."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.places: list[int] = []

    def encode(
        self,
        texts: Sequence[str],
        direction: Direction = "right",
        *,
        places: Sequence[int] | None = None,
        check_wanted: Callable[[], object] = bool,
    ) -> list[list[int]]:
        self.encoded += texts
        self.places = list(places or ())
        if direction == "left":
            return [[101, *map(ord, reversed(text)), 102] for text in texts]
        if any("\ud800" in text for text in texts):
            raise InvalidInput("not valid Unicode")
        return [[101, *map(ord, text), 102] for text in texts]


def test_the_same_text_is_encoded_once_and_gives_the_same_ids() -> None:
    counting = Counting()
    memo = TokenIdCache(counting.encode, CacheSettings())
    first = memo.ids(["ab", "", "c", "ab"])
    assert first == [[101, 97, 98, 102], [101, 102], [101, 99, 102], [101, 97, 98, 102]]
    counting.encoded.clear()
    assert memo.ids(["c", "new", "ab"]) == [first[2], [101, 110, 101, 119, 102], first[0]]
    assert counting.encoded == ["new"]


def test_the_ends_of_a_text_are_kept_apart() -> None:
    memo = TokenIdCache(Counting().encode, CacheSettings())
    for _ in range(2):
        assert memo.ids(["ab"]) == [[101, 97, 98, 102]]
        assert memo.ids(["ab"], "left") == [[101, 98, 97, 102]]


def test_the_tokenizer_is_given_the_places_of_the_texts_in_the_request() -> None:
    counting = Counting()
    memo = TokenIdCache(counting.encode, CacheSettings())
    memo.ids(["b"])
    memo.ids(["a", "b", "c"])
    assert counting.places == [0, 2]


def test_a_caller_may_change_the_ids_it_got() -> None:
    memo = TokenIdCache(Counting().encode, CacheSettings())
    memo.ids(["ab"])[0].clear()
    memo.ids(["ab"])[0].clear()
    assert memo.ids(["ab"]) == [[101, 97, 98, 102]]


def test_errors_are_passed_on_and_not_remembered() -> None:
    counting = Counting()
    memo = TokenIdCache(counting.encode, CacheSettings())
    for _ in range(2):
        with pytest.raises(InvalidInput):
            memo.ids(["a", "\ud800"])
    assert counting.encoded == ["a", "\ud800", "a", "\ud800"]


def test_the_cache_is_bounded() -> None:
    counting = Counting()
    memo = TokenIdCache(counting.encode, CacheSettings(cache_mb=1))
    for number in range(2000):
        memo.ids([f"{number:04}"])
    counting.encoded.clear()
    for number in range(2000):
        memo.ids([f"{number:04}"])
    assert len(counting.encoded) > 1500
