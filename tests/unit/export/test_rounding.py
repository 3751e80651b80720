"""8-bit weights: in range, safe on every x86 CPU, and rounded at least as well as plainly."""

from itertools import product

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.export.rounding import LARGEST, LARGEST_PAIR, round_weights, steps_of
from predictor.export.weights import FloatArray

Gram = npt.NDArray[np.float64]
INT16 = np.iinfo(np.int16)

shapes = st.tuples(st.integers(1, 150), st.integers(1, 9))
kinds = st.sampled_from(["normal", "heavy", "one-sign", "equal", "outlier", "zero", "pairs"])
scales = st.sampled_from([1e-4, 1e-2, 1.0, 30.0])
seeds = st.integers(0, 2**32 - 1)


def weights(kind: str, shape: tuple[int, int], scale: float, seed: int) -> FloatArray:
    random = np.random.default_rng(seed)
    values = random.standard_normal(shape)
    if kind == "heavy":
        values = random.standard_t(2, shape)
    elif kind == "one-sign":
        values = -np.abs(values)
    elif kind == "equal":
        values = np.ones(shape)
    elif kind == "outlier":
        values[random.integers(shape[0])] *= 1000
    elif kind == "zero":
        values = np.zeros(shape)
    elif kind == "pairs":
        values[1::2] = values[: 2 * (len(values) // 2) : 2]
    return (values * scale).astype(np.float32)


def gram(size: int, rank: int, seed: int) -> Gram:
    """The mean of x' x over inputs whose channels have much in common, some never used."""
    random = np.random.default_rng(seed + 1)
    x = random.standard_normal((4 * size, rank)) @ random.standard_normal((rank, size))
    x += 0.1 * random.standard_normal(x.shape)
    x[:, random.random(size) < 0.1] = 0
    return np.asarray(x.T @ x / len(x), dtype=np.float64)


def largest_pairs(integers: npt.NDArray[np.int8]) -> tuple[int, int]:
    """The largest sum of two neighbouring rows' positive, and of their negative parts."""
    even = integers[0::2].astype(int)
    odd = np.zeros_like(even)
    odd[: len(integers) // 2] = integers[1::2]
    positive = np.maximum(even, 0) + np.maximum(odd, 0)
    negative = np.maximum(-even, 0) + np.maximum(-odd, 0)
    return int(positive.max()), int(negative.max())


@settings(max_examples=60)
@given(shape=shapes, kind=kinds, scale=scales, seed=seeds, noise=st.sampled_from([1e-12, 1e-3, 1]))
def test_no_two_neighbouring_rows_can_overflow_16_bits(
    shape: tuple[int, int], kind: str, scale: float, seed: int, noise: float
) -> None:
    weight = weights(kind, shape, scale, seed)
    integers, steps = round_weights(weight, gram(shape[0], 3, seed), noise)
    assert integers.dtype == np.int8
    assert (integers.shape, steps.shape) == (shape, shape[1:])
    assert np.abs(integers.astype(int)).max() <= LARGEST
    assert max(largest_pairs(integers)) <= LARGEST_PAIR
    assert np.isfinite(steps).all()
    assert (steps > 0).all()


def test_every_pair_that_is_allowed_fits_16_bits_with_every_extreme_input() -> None:
    numbers = np.arange(-LARGEST, LARGEST + 1)
    first, second = np.meshgrid(numbers, numbers)
    positive = np.maximum(first, 0) + np.maximum(second, 0)
    negative = np.maximum(-first, 0) + np.maximum(-second, 0)
    allowed = np.maximum(positive, negative) <= LARGEST_PAIR
    assert allowed.any()
    assert not allowed.all()
    for left, right in product((0, 1, 128, 254, 255), repeat=2):
        sums = left * first[allowed] + right * second[allowed]
        assert INT16.min <= sums.min() <= sums.max() <= INT16.max
    assert INT16.max < 255 * (LARGEST_PAIR + 1), "one step more would not fit"


@settings(max_examples=60)
@given(shape=shapes, kind=kinds, scale=scales, seed=seeds)
def test_steps_are_just_large_enough(
    shape: tuple[int, int], kind: str, scale: float, seed: int
) -> None:
    weight = weights(kind, shape, scale, seed)
    steps = steps_of(weight)
    rows = weight / steps
    assert np.abs(rows).max() <= LARGEST * (1 + 1e-5)
    padded = np.concatenate([rows, np.zeros((len(rows) % 2, rows.shape[1]))])
    even = padded[0::2]
    odd = padded[1::2]
    pairs = np.maximum(
        np.maximum(even, 0) + np.maximum(odd, 0), np.maximum(-even, 0) + np.maximum(-odd, 0)
    ).max(axis=0)
    assert pairs.max() <= LARGEST_PAIR * (1 + 1e-5)
    used = np.abs(weight).max(axis=0) > 0
    tight = np.maximum(np.abs(rows).max(axis=0) / LARGEST, pairs / LARGEST_PAIR)
    np.testing.assert_allclose(tight[used], 1, rtol=1e-4)


def loss(rounded: FloatArray, weight: FloatArray, gram_matrix: Gram, noise: float) -> float:
    """Mean square of (x + rounding of x) @ rounded - x @ weight."""
    error = rounded.astype(np.float64) - weight
    return float(np.sum(error * (gram_matrix @ error)) + noise * np.sum(np.square(rounded)))


@settings(max_examples=40)
@given(
    size=st.integers(8, 150),
    rank=st.integers(2, 20),
    seed=seeds,
    kind=st.sampled_from(["normal", "heavy"]),
    noise=st.sampled_from([1e-6, 1e-4, 1e-2]),
)
def test_rounding_is_not_worse_than_plain_rounding_on_its_own_inputs(
    size: int, rank: int, seed: int, kind: str, noise: float
) -> None:
    """Not promised for a row a thousand times the others', which smoothing leaves none of."""
    weight, gram_matrix = weights(kind, (size, 8), 1.0, seed), gram(size, rank, seed)
    integers, steps = round_weights(weight, gram_matrix.copy(), noise)
    plain = np.rint(weight / steps_of(weight)) * steps_of(weight)
    assert loss(integers * steps, weight, gram_matrix, noise) <= 1.05 * loss(
        plain, weight, gram_matrix, noise
    )


def test_rounding_is_much_better_where_channels_have_much_in_common() -> None:
    weight, gram_matrix = weights("normal", (128, 32), 1.0, 3), gram(128, 4, 3)
    integers, steps = round_weights(weight, gram_matrix.copy(), 1e-4)
    plain = np.rint(weight / steps_of(weight)) * steps_of(weight)
    assert loss(integers * steps, weight, gram_matrix, 1e-4) < 0.5 * loss(
        plain, weight, gram_matrix, 1e-4
    )


def test_the_given_weights_are_left_as_they_are() -> None:
    weight, gram_matrix = weights("normal", (16, 4), 1.0, 0), gram(16, 4, 0)
    before = weight.copy()
    round_weights(weight, gram_matrix, 1e-3)
    np.testing.assert_array_equal(weight, before)
