"""Smoothing moves size from inputs to weights, changes no product, and ranges hold every value."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.export.smoothquant import (
    ACTIVATION_STEPS,
    ALPHAS,
    HEADROOM,
    Activation,
    best_alpha,
    input_range,
    quantize,
    quantize_input,
    smoothing,
)
from predictor.export.weights import FloatArray

seeds = st.integers(0, 2**32 - 1)


def inputs(seed: int, width: int = 48, rows: int = 256) -> FloatArray:
    """Rows whose channels differ a hundredfold, as an encoder's do; one channel is never used."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((rows, width)) * np.exp(random.normal(0, 1.5, width))
    x += random.normal(0, 0.5, width)
    x[:, random.integers(width)] = 0
    return x.astype(np.float32)


def activation_of(x: FloatArray) -> Activation:
    return Activation(x.min(axis=0), x.max(axis=0), x, x.T @ x / np.float32(len(x)))


def matrix(seed: int, width: int = 48, out: int = 16) -> FloatArray:
    return np.random.default_rng(seed + 1).standard_normal((width, out)).astype(np.float32)


@settings(max_examples=50)
@given(seed=seeds, alpha=st.sampled_from(ALPHAS))
def test_smoothed_inputs_times_smoothed_weights_are_the_same_product(
    seed: int, alpha: float
) -> None:
    x, weight = inputs(seed), matrix(seed)
    divisors = smoothing(x.min(axis=0), x.max(axis=0), weight, alpha)
    assert (divisors > 0).all()
    assert np.exp(np.log(divisors).mean()) == pytest.approx(1, rel=1e-4)
    product = (x / divisors) @ (weight * divisors[:, None])
    exact = x.astype(np.float64) @ weight
    np.testing.assert_allclose(product, exact, atol=1e-5 * np.abs(exact).max())


@settings(max_examples=50)
@given(seed=seeds, shift=st.floats(-100, 100), size=st.floats(1e-6, 1e4))
def test_the_range_holds_every_value_seen_and_zero_exactly(
    seed: int, shift: float, size: float
) -> None:
    x = (inputs(seed) * size + np.float32(shift)).astype(np.float32)
    divisors = smoothing(x.min(axis=0), x.max(axis=0), matrix(seed), 0.5)
    scale, zero = input_range(x.min(axis=0), x.max(axis=0), divisors)
    assert 0 <= int(zero) <= ACTIVATION_STEPS
    rounded = quantize_input(x, divisors, scale, zero)
    assert np.abs(rounded - x / divisors).max() <= scale * 1.01
    nothing = np.zeros((1, x.shape[1]), dtype=np.float32)
    assert not quantize_input(nothing, divisors, scale, zero).any()


def test_values_beyond_what_was_seen_are_held_at_the_end() -> None:
    unit = np.ones(1, dtype=np.float32)
    scale, zero = input_range(-unit, unit, unit)
    far = np.array([[-50.0], [50.0]], dtype=np.float32)
    ends = 1 + HEADROOM
    held = quantize_input(far, unit, scale, zero)
    np.testing.assert_allclose(held, [[-ends], [ends]], atol=0.01)


def test_a_little_more_than_was_seen_is_not_cut_off() -> None:
    unit = np.ones(1, dtype=np.float32)
    scale, zero = input_range(-unit, unit, unit)
    more = np.array([[-1.14], [1.14]], dtype=np.float32)
    np.testing.assert_allclose(quantize_input(more, unit, scale, zero), more, atol=float(scale))


def test_a_channel_that_is_always_zero_is_no_division_by_zero() -> None:
    x = np.zeros((8, 4), dtype=np.float32)
    result = quantize(activation_of(x), [np.zeros((4, 2), dtype=np.float32)])
    assert np.isfinite(result.divisors).all()
    assert np.isfinite(result.scales[0]).all()
    assert result.scale > 0
    assert not result.weights[0].any()


@settings(max_examples=15)
@given(seed=seeds)
def test_layers_that_share_an_input_are_quantised_together(seed: int) -> None:
    x, parts = inputs(seed), [matrix(seed, out=8), matrix(seed + 5, out=3)]
    result = quantize(activation_of(x), parts)
    assert result.alpha in ALPHAS
    rounded = quantize_input(x, result.divisors, result.scale, result.zero)
    for part, integers, scales in zip(parts, result.weights, result.scales, strict=True):
        assert (integers.shape, scales.shape) == (part.shape, part.shape[1:])
        exact = x @ part
        error = rounded @ (integers * scales) - exact
        assert np.linalg.norm(error) <= 0.05 * np.linalg.norm(exact)


def test_the_chosen_alpha_is_the_one_with_the_least_error() -> None:
    x, weight = inputs(3), matrix(3)
    observed = activation_of(x)
    best = best_alpha(observed, weight)
    for alpha in ALPHAS:
        assert best_alpha(observed, weight, (alpha, best)) == best


def test_smoothing_makes_an_outlying_channel_cheap() -> None:
    x, weight = inputs(4), matrix(4)
    x[:, 5] *= 300
    exact = x @ weight
    result = quantize(activation_of(x), [weight])
    plain_scale, plain_zero = input_range(x.min(axis=0), x.max(axis=0), np.ones_like(x[0]))
    plain = quantize_input(x, np.ones_like(x[0]), plain_scale, plain_zero) @ weight
    smoothed = quantize_input(x, result.divisors, result.scale, result.zero) @ (
        result.weights[0] * result.scales[0]
    )
    assert np.linalg.norm(smoothed - exact) < 0.75 * np.linalg.norm(plain - exact)
