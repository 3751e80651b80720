"""Keeps the token ids of earlier texts, which are half of the cost of a row from the cache.

It is no cache of vectors by text: it gives ids, which are a function of the text alone, and the row
is looked up by them. Only a digest of each text is kept.
"""

from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Protocol

from moka_py import Moka

from predictor.cache.memory import ENTRY_BYTES
from predictor.settings import CacheSettings
from predictor.types import Direction
from predictor.wall import run_error

# Share of --cache-mb beside the rows that the ids of one model version may take; a row of 384
# float32 is 16 times as large as the ids of a text of 24 tokens.
SHARE = 1 / 8


class Encode(Protocol):
    """The tokenizer: ids of texts, see `Tokenizer.ids`."""

    def __call__(
        self,
        texts: Sequence[str],
        direction: Direction = "right",
        *,
        places: Sequence[int] | None = None,
        check_wanted: Callable[[], None] = ...,
    ) -> list[list[int]]: ...


def _nothing() -> None:
    """Stand in for the check whether a client waits."""


class TokenIdCache:
    """The token ids of one version's tokenizer; safe from several threads at once."""

    def __init__(self, encode: Encode, settings: CacheSettings) -> None:
        """encode: ids of each text; its errors are passed on."""
        self._encode = encode
        self._ids: Moka[bytes, bytes] = Moka(
            int(settings.cache_mb * SHARE * (1 << 20)),
            policy="tiny_lfu",
            weigher=lambda key, ids: len(ids) + ENTRY_BYTES,
        )

    def ids(
        self,
        texts: Sequence[str],
        direction: Direction = "right",
        *,
        places: Sequence[int] | None = None,
        check_wanted: Callable[[], None] = _nothing,
    ) -> list[list[int]]:
        """Token ids of each text, as the tokenizer gives them. Raises what it does."""
        # Of a text that is cut, the ids of the other end are others.
        end = b"left" if direction == "left" else b""
        keys = [blake2b(_bytes(text), digest_size=16, person=end).digest() for text in texts]
        try:
            known = [self._ids.get(key) for key in keys]
        except BaseException as error:
            raise run_error("the cache", error) from error
        missing = [index for index, ids in enumerate(known) if ids is None]
        rows = [[] if ids is None else array("i", ids).tolist() for ids in known]
        if missing:
            encoded = self._encode(
                [texts[index] for index in missing],
                direction,
                places=[places[index] for index in missing] if places else missing,
                check_wanted=check_wanted,
            )
            for index, ids in zip(missing, encoded, strict=True):
                rows[index] = ids
                self._store(keys[index], ids)
        return rows

    def _store(self, key: bytes, ids: list[int]) -> None:
        try:
            self._ids.set(key, array("i", ids).tobytes())
        except BaseException as error:
            raise run_error("the cache", error) from error


def _bytes(text: str) -> bytes:
    """UTF-8, with lone surrogates: the tokenizer refuses them, with a better message."""
    return text.encode("utf-8", "surrogatepass")
