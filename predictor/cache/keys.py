"""The key of a row: a hash of everything that decides its numbers, never the text.

Two rows share a key only if the same graph runs the same token ids. Prompts, truncation and the
tokenizer are in the ids; pooling is in the bundle's digest; cutting, normalising and quantising
come after the cache.
"""

import hashlib
import sys
from array import array
from collections.abc import Sequence

KEY_BYTES = 16
# Characters of the digest in a Redis key, for operators to tell bundles apart; the hash holds all.
DIGEST_SHOWN = 12
# Ids are hashed as little-endian int32 everywhere, so that pods on any machine share rows.
SWAP = sys.byteorder == "big"


def version_state(digest: str, variant: str, dimensions: int) -> "hashlib.blake2b":
    """The hash state that all keys of one model version start from."""
    words = f"{digest}\0{variant}\0{dimensions}\0"
    return hashlib.blake2b(words.encode(), digest_size=KEY_BYTES)


def row_key(state: "hashlib.blake2b", ids: Sequence[int]) -> bytes:
    """16 bytes for the token ids actually run; `state` is left as it is."""
    numbers = array("i", ids)
    if SWAP:
        numbers.byteswap()
    key = state.copy()
    key.update(numbers)
    return key.digest()


def redis_prefix(digest: str) -> bytes:
    """What the Redis keys of one bundle start with; 1 is the format of names and values."""
    return f"predictor:1:{digest[:DIGEST_SHOWN]}:".encode()
