"""Rows as bytes: exact as float32, near enough as float16, never something that is no number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from predictor.cache.frame import framed, unframed
from predictor.cache.rows import (
    F16,
    F32,
    Stored,
    finite,
    join_rows,
    split_rows,
    storable,
    to_float32,
)
from predictor.types import FloatRows

KEY = b"k" * 16


def matrix(rows: int = 50, dimensions: int = 384, scale: float = 1.0) -> FloatRows:
    generator = np.random.default_rng(3)
    return (generator.normal(size=(rows, dimensions)) * scale).astype(np.float32)


def test_float32_rows_come_back_bit_by_bit_and_writable() -> None:
    rows = matrix()
    again = join_rows(split_rows(rows), 50, 384, F32)
    np.testing.assert_array_equal(again, rows)
    again[0] = 0
    assert join_rows([], 0, 384, F32).shape == (0, 384)


@pytest.mark.parametrize("scale", [0.002, 0.05, 1.0, 1000.0])
def test_float16_keeps_the_angle(scale: float) -> None:
    rows = matrix(scale=scale)
    kept = [row for row in storable(split_rows(rows), rows, F16) if row is not None]
    assert len(kept) == 50
    again = join_rows(kept, 50, 384, F16)
    assert again.dtype == np.float32
    wide, near = rows.astype(np.float64), again.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(near, axis=1)
    assert ((wide * near).sum(axis=1) / lengths).min() >= 0.9999999
    assert np.abs(again - rows).max() <= np.abs(rows).max() * 2**-11
    assert b"".join(to_float32(row, F16) for row in kept) == again.tobytes()


@pytest.mark.parametrize("bad", [70000.0, -70000.0, 1e-5, np.nan, np.inf, -np.inf])
def test_float16_does_not_keep_what_it_cannot_hold(bad: float) -> None:
    rows = matrix(3)
    rows[1] = bad
    kept = storable(split_rows(rows), rows, F16)
    assert [row is None for row in kept] == [False, True, False]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_float32_keeps_all_but_the_row_that_is_not_finite(bad: float) -> None:
    rows = matrix(3)
    rows[1, 7] = bad
    rows[2] = 1e30  # its square is too large for float32, the row is not
    kept = storable(split_rows(rows), rows, F32)
    assert [row is None for row in kept] == [False, True, False]


ROWS = arrays.arrays(np.float32, (8,), elements=st.floats(-100, 100, width=32, allow_nan=False))


@given(ROWS, st.sampled_from([F32, F16]))
def test_a_frame_gives_its_row_back(row: FloatRows, dtype: Stored) -> None:
    stored = row.astype(dtype).tobytes()
    assert unframed(KEY, framed(KEY, stored, dtype), 8, dtype) == stored


@given(ROWS, st.data())
def test_one_flipped_bit_or_a_cut_is_no_row(row: FloatRows, data: st.DataObject) -> None:
    value = framed(KEY, row.tobytes(), F32)
    bit = data.draw(st.integers(0, len(value) * 8 - 1))
    damaged = bytearray(value)
    damaged[bit // 8] ^= 1 << bit % 8
    assert unframed(KEY, bytes(damaged), 8, F32) is None
    cut = data.draw(st.integers(0, len(value) - 1))
    assert unframed(KEY, value[:cut], 8, F32) is None
    assert unframed(KEY, value + b"\0", 8, F32) is None


@given(st.binary(max_size=100))
def test_garbage_is_no_row(value: bytes) -> None:
    assert unframed(KEY, value, 8, F32) is None


def test_a_value_of_another_key_dimension_or_type_is_no_row() -> None:
    row = matrix(1, 8)
    value = framed(KEY, row.tobytes(), F32)
    assert unframed(KEY, value, 8, F32) is not None
    assert unframed(b"j" * 16, value, 8, F32) is None
    assert unframed(KEY, value, 4, F32) is None
    assert unframed(KEY, value, 16, F16) is None
    assert unframed(KEY, framed(KEY, row.astype(F16).tobytes(), F16), 4, F32) is None


def test_a_well_framed_row_of_nan_is_no_row() -> None:
    row = np.full(8, np.nan, dtype=np.float32).tobytes()
    assert not finite(row, F32)
    assert unframed(KEY, framed(KEY, row, F32), 8, F32) is None
