"""Remembers the token ids of texts that came before: half of what a row out of the cache costs.

Not a cache of vectors by text: it gives ids only, which are a function of the text alone, and the
row is looked up by those. Of a text only a digest is kept.
"""

from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b

from moka_py import Moka

from predictor.cache.memory import ENTRY_BYTES
from predictor.settings import CacheSettings

# Share of --cache-mb beside the rows that the ids of one model version may take; a row of 384
# float32 is 16 times as large as the ids of a text of 24 tokens.
SHARE = 1 / 8

Encode = Callable[[Sequence[str]], list[list[int]]]


class TokenMemo:
    """Of one version's tokenizer; may be used from several threads at once."""

    def __init__(self, encode: Encode, settings: CacheSettings) -> None:
        """encode: ids of each text, whatever their length; its errors are passed on."""
        self._encode = encode
        self._ids: Moka[bytes, bytes] = Moka(
            int(settings.cache_mb * SHARE * (1 << 20)),
            policy="tiny_lfu",
            weigher=lambda key, ids: len(ids) + ENTRY_BYTES,
        )

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text. Raises what `encode` does."""
        keys = [blake2b(_bytes(text), digest_size=16).digest() for text in texts]
        known = [self._ids.get(key) for key in keys]
        missing = [index for index, ids in enumerate(known) if ids is None]
        rows = [[] if ids is None else array("i", ids).tolist() for ids in known]
        if missing:
            encoded = self._encode([texts[index] for index in missing])
            for index, ids in zip(missing, encoded, strict=True):
                rows[index] = ids
                self._ids.set(keys[index], array("i", ids).tobytes())
        return rows


def _bytes(text: str) -> bytes:
    """Lone surrogates too: the tokenizer refuses them, with a better sentence."""
    return text.encode("utf-8", "surrogatepass")
