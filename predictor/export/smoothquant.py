"""The arithmetic of static 8-bit quantisation: pure numpy, one layer at a time.

A channel whose values are large makes the steps of all others coarse. SmoothQuant (Xiao et al.,
2023, arXiv:2211.10438) divides each input channel by s and multiplies the weights' row by it, with
s = max|x|^a / max|w|^(1-a). `a` is chosen for each layer: the one whose quantised product comes
nearest to the exact one on a sample of calibration rows. Weights are then rounded one row after
the other, each row making good for the errors of those before (`rounding.py`).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from predictor.export.rounding import Integers, round_weights, steps_of
from predictor.export.weights import FloatArray

Gram = npt.NDArray[np.float64]
ALPHAS = (0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
ACTIVATION_STEPS = 255  # unsigned 8 bits
# Room beyond the largest value that the calibration texts gave, as a share of it: what exceeds the
# range is cut off, and one such text in 400 lost 1.5 % of its cosine. It costs 0.03 % of the mean.
HEADROOM = 0.15
# Share of the correlation between channels that is not believed, since few rows were seen (after
# Ledoit and Wolf, 2004). Without it, rounding of a layer with 3072 inputs puts its errors where the
# calibration texts happened not to look: mean cosine of mpnet 0.968, with it 0.995.
SHRINKAGE = 0.2


@dataclass
class Activation:
    """A linear layer's input while the calibration texts are read."""

    low: FloatArray
    """Smallest value of each channel, `[in]`."""

    high: FloatArray
    """Largest value of each channel, `[in]`."""

    sample: FloatArray
    """Some rows, `[n, in]`."""

    gram: FloatArray
    """Mean of x' x over more rows than the sample has, `[in, in]`."""


@dataclass(frozen=True)
class QuantizedLayers:
    """The linear layers that share one input, in 8 bits."""

    alpha: float

    divisors: FloatArray
    """What each channel of the input is divided by, `[in]`."""

    scale: np.float32
    """Size of a step of the input, one for all channels."""

    zero: np.uint8
    """The input's zero point, one for all channels."""

    weights: list[Integers]
    """Int8 `[in, out]` of each linear layer."""

    scales: list[FloatArray]
    """Size of a step of each output, `[out]`, of each linear layer."""


def smoothing(low: FloatArray, high: FloatArray, weight: FloatArray, alpha: float) -> FloatArray:
    """SmoothQuant's factors `[in]`, scaled to a geometric mean of 1."""
    values = np.maximum(np.maximum(-low, high), 1e-5)
    rows = np.maximum(np.abs(weight).max(axis=1), 1e-5)
    factors = values**alpha / rows ** (1 - alpha)
    return np.asarray(factors / np.exp(np.log(factors).mean()), dtype=np.float32)


def input_range(
    low: FloatArray, high: FloatArray, divisors: FloatArray
) -> tuple[np.float32, np.uint8]:
    """Scale and zero point that hold every value seen and some more, and 0 exactly."""
    least = min(0.0, float((low / divisors).min())) * (1 + HEADROOM)
    most = max(0.0, float((high / divisors).max())) * (1 + HEADROOM)
    scale = np.float32(max(most - least, 1e-6) / ACTIVATION_STEPS)
    zero = np.uint8(np.clip(round(-least / float(scale)), 0, ACTIVATION_STEPS))
    return scale, zero


def quantize_input(
    x: FloatArray, divisors: FloatArray, scale: np.float32, zero: np.uint8
) -> FloatArray:
    """What QuantizeLinear's integers stand for, still smoothed."""
    steps = np.clip(np.rint(x / divisors / scale) + np.float32(zero), 0, ACTIVATION_STEPS)
    return np.asarray((steps - np.float32(zero)) * scale, dtype=np.float32)


def best_alpha(
    activation: Activation, joint: FloatArray, alphas: tuple[float, ...] = ALPHAS
) -> float:
    """The `a` whose product of rounded input and rounded weights `[in, out]` is nearest."""
    exact = activation.sample @ joint

    def error(alpha: float) -> float:
        divisors = smoothing(activation.low, activation.high, joint, alpha)
        scale, zero = input_range(activation.low, activation.high, divisors)
        weight = joint * divisors[:, None]
        steps = steps_of(weight)
        rounded = np.rint(weight / steps) * steps
        product = quantize_input(activation.sample, divisors, scale, zero) @ rounded
        return float(np.square(product - exact).mean())

    return min(alphas, key=error)


def shrunk(gram: Gram) -> Gram:
    """The same variances, weaker correlations; the matrix is changed."""
    variances = np.diag(gram).copy()
    gram *= 1 - SHRINKAGE
    np.fill_diagonal(gram, variances)
    return gram


def quantize(activation: Activation, weights: list[FloatArray]) -> QuantizedLayers:
    """Quantise the linear layers, weights `[in, out]`, that share one input."""
    joint = np.concatenate(weights, axis=1)
    alpha = best_alpha(activation, joint)
    divisors = smoothing(activation.low, activation.high, joint, alpha)
    scale, zero = input_range(activation.low, activation.high, divisors)
    gram = shrunk((activation.gram / np.outer(divisors, divisors)).astype(np.float64))
    noise = float(scale) ** 2 / 12  # of rounding the input, in each channel
    integers, scales = round_weights(joint * divisors[:, None], gram, noise)
    cuts = np.cumsum([weight.shape[1] for weight in weights])[:-1]
    return QuantizedLayers(
        alpha,
        divisors,
        scale,
        zero,
        np.split(integers, cuts, axis=1),
        np.split(scales, cuts),
    )
