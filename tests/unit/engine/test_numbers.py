"""Packing, pooling, finishing, quantising: pure functions on arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictor.engine import packing, pooling
from predictor.engine.quantize import quantize
from predictor.engine.reference_runs import group_by_length
from predictor.similarity import cosines
from predictor.types import FloatRows, OutputType, Pooling

ROWS = st.lists(st.lists(st.integers(0, 30000), min_size=1, max_size=40), min_size=1, max_size=12)


@given(ROWS)
def test_packing_and_unpacking_are_inverse(rows: list[list[int]]) -> None:
    feed = packing.pack(rows)
    ids = feed["input_ids"]
    index = feed["token_index"].T
    mask = feed["attention_mask"]
    assert ids.tolist() == [token for row in rows for token in row]
    padded = ids[index]
    for place, row in enumerate(rows):
        assert padded[place][: len(row)].tolist() == row
        assert set(padded[place][len(row) :].tolist()) <= {row[0]}
        assert mask[place].tolist() == [1] * len(row) + [0] * (mask.shape[1] - len(row))
    assert padded[feed["sequence_ids"], feed["places"]].tolist() == ids.tolist()
    assert feed["position_ids"].tolist() == [p for row in rows for p in range(len(row))]
    for name, array in feed.items():
        assert array.dtype == packing.PACKED_INPUTS[name][0], name


def test_a_position_offset_skips_padding_tokens_inside_a_text() -> None:
    feed = packing.pack([[0, 7, 1, 8, 2], [0, 1, 1, 2]], position_offset=2, pad_id=1)
    assert feed["position_ids"].tolist() == [2, 3, 1, 4, 5, 2, 1, 1, 3]
    assert packing.pack([[0, 5], [0]], position_offset=2, pad_id=1)["position_ids"].tolist() == [
        2,
        3,
        2,
    ]


def test_the_offsets_of_packed_attention() -> None:
    feed = packing.pack([[5, 6, 7], [8]])
    assert feed["token_offset"].tolist() == [[0, 1, 2], [3, 4, 5]]
    feed = packing.pack([[8], [5, 6, 7]], ["token_offset", "cumulative_sequence_length"])
    assert feed["token_offset"].tolist() == [[0, 3, 4], [5, 1, 2]]
    assert feed["cumulative_sequence_length"].tolist() == [0, 1, 4]


@given(ROWS)
def test_padding_gives_only_what_the_graph_takes(rows: list[list[int]]) -> None:
    feed = packing.pad(rows, ["input_ids", "attention_mask"], pad_id=1)
    assert set(feed) == {"input_ids", "attention_mask"}
    for place, row in enumerate(rows):
        assert feed["input_ids"][place][: len(row)].tolist() == row
        assert set(feed["input_ids"][place][len(row) :].tolist()) <= {1}


@given(st.lists(st.integers(1, 300), min_size=1, max_size=50), st.integers(1, 512))
def test_groups_cover_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = group_by_length(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    assert all(len(g) == 1 or sum(lengths[i] for i in g) <= budget for g in groups)


def test_mean_pooling_ignores_padding() -> None:
    hidden = np.array([[[1, 2], [3, 4], [100, 100]]], dtype=np.float32)
    mask = np.array([[1, 1, 0]])
    assert pooling.pool(hidden, mask, Pooling.MEAN).tolist() == [[2.0, 3.0]]
    assert pooling.pool(hidden, mask, Pooling.CLS).tolist() == [[1.0, 2.0]]


def rows(count: int = 5, dimensions: int = 48) -> FloatRows:
    return np.random.default_rng(1).standard_normal((count, dimensions)).astype(np.float32)


def test_dimensions_are_cut_before_normalising() -> None:
    original = rows()
    cut = pooling.finish(original, 16, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(cut, axis=1), 1.0, atol=1e-6)
    expected = original[:, :16] / np.linalg.norm(original[:, :16], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-6)
    assert cut.flags.c_contiguous


@given(st.integers(0, 2**32 - 1), st.floats(-30, 18))
def test_a_row_alone_is_bit_for_bit_the_row_among_others(seed: int, exponent: float) -> None:
    scale = np.float32(10.0**exponent)
    together = np.random.default_rng(seed).standard_normal((3, 48)).astype(np.float32) * scale
    finished = pooling.finish(together, None, normalize=True)
    for place in range(3):
        alone = pooling.finish(together[place : place + 1], None, normalize=True)
        assert alone.dtype == np.float32
        assert alone.tobytes() == finished[place : place + 1].tobytes()


def test_without_normalising_the_row_is_as_the_model_gave_it() -> None:
    assert pooling.finish(rows(), None, normalize=False).tolist() == rows().tolist()


def test_a_zero_row_stays_zero() -> None:
    zero = np.zeros((1, 4), dtype=np.float32)
    assert pooling.finish(zero, None, normalize=True).tolist() == zero.tolist()


@pytest.mark.parametrize("kind", [OutputType.INT8, OutputType.UINT8])
def test_eight_bits_keep_the_cosine(kind: OutputType) -> None:
    small = quantize(rows(), kind).astype(np.float32) - (128 if kind is OutputType.UINT8 else 0)
    assert cosines(small, rows()).min() > 0.9999


def test_bits_are_signs_first_component_highest() -> None:
    row = np.array([[1, -1, -1, -1, -1, -1, -1, 1, 1]], dtype=np.float32)
    assert quantize(row, OutputType.UBINARY).tolist() == [[0b10000001, 0b10000000]]
    assert quantize(row, OutputType.BINARY).tolist() == [[0b10000001 - 128, 0b10000000 - 128]]


@pytest.mark.parametrize("kind", [k for k in OutputType if k is not OutputType.FLOAT])
def test_a_rows_bytes_do_not_depend_on_its_neighbours(kind: OutputType) -> None:
    together = quantize(rows(), kind)
    for place in range(5):
        unbatched = quantize(rows()[place : place + 1], kind)
        assert unbatched[0].tolist() == together[place].tolist()
