"""Names of rows: what must differ differs, what is the same on every machine is the same."""

import hashlib
from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.cache import keys
from predictor.cache.keys import redis_prefix, row_key, version_state

IDS = st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=600)


def test_the_key_is_the_hash_of_version_and_little_endian_ids() -> None:
    ids = [101, 7592, 2**31 - 1, 102]
    plain = b"abc\0int8\x00384\0" + np.array(ids, dtype="<i4").tobytes()
    expected = hashlib.blake2b(plain, digest_size=16).digest()
    assert row_key(version_state("abc", "int8", 384), ids) == expected


def test_a_big_endian_machine_swaps_the_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    state = version_state("abc", "int8", 384)
    swapped = array("i", [1, 2, 3])
    swapped.byteswap()
    expected = row_key(state, swapped)
    monkeypatch.setattr(keys, "SWAP", True)
    assert row_key(state, [1, 2, 3]) == expected


@given(IDS, IDS)
def test_different_ids_have_different_keys_and_the_state_is_not_used_up(
    first: list[int], second: list[int]
) -> None:
    state = version_state("abc", "int8", 384)
    assert (row_key(state, first) == row_key(state, second)) == (first == second)
    assert row_key(state, first) == row_key(version_state("abc", "int8", 384), first)


@pytest.mark.parametrize(
    "other",
    [("abd", "int8", 384), ("abc", "fp32", 384), ("abc", "int8", 383), ("abci", "nt8", 384)],
)
def test_digest_variant_and_dimensions_are_in_the_key(other: tuple[str, str, int]) -> None:
    assert row_key(version_state("abc", "int8", 384), [1]) != row_key(version_state(*other), [1])


def test_the_redis_key_shows_the_bundle_of_a_row() -> None:
    assert redis_prefix("0123456789abcdef" * 4) == b"predictor:1:0123456789ab:"
