"""Weights to 8-bit integers, such that every x86 CPU computes the same product.

Rounding is GPTQ's (Frantar et al., 2022, arXiv:2210.17323): row by row, the error of a row is
spread over the rows that are still to come, by what the inputs have in common.

Without VNNI, a CPU adds products of unsigned and signed bytes in pairs, in 16 bits that saturate:
255 x (w1 + w2) has to stay within 32767 for every two neighbouring rows. Halving all weights to 7
bits would do; it is enough that no *pair* of the same sign sums to more than 128 steps, which costs
a tenth of a bit and not a whole one.
"""

import numpy as np
import numpy.typing as npt

from predictor.export.weights import FloatArray

Integers = npt.NDArray[np.int8]
LARGEST = 127
LARGEST_PAIR = 128  # 255 * 128 = 32640
# Rows whose errors are spread at once: the rest is one matrix product.
BLOCK = 64
# Share of the mean diagonal added to it: rows that the calibration texts hardly use.
DAMPING = 0.01


def steps_of(weight: FloatArray) -> FloatArray:
    """The size of a step of each column `[out]` of `[in, out]`."""
    even = weight[0::2]
    odd = weight[1::2]
    if len(odd) < len(even):
        odd = np.concatenate([odd, np.zeros_like(weight[:1])])
    positive = np.maximum(even, 0) + np.maximum(odd, 0)
    negative = np.maximum(-even, 0) + np.maximum(-odd, 0)
    pairs = np.maximum(positive.max(axis=0), negative.max(axis=0)) / LARGEST_PAIR
    steps = np.maximum(np.abs(weight).max(axis=0) / LARGEST, pairs)
    return np.asarray(np.maximum(steps, 1e-12), dtype=np.float32)


def round_weights(
    weight: FloatArray, gram: npt.NDArray[np.float64], noise: float
) -> tuple[Integers, FloatArray]:
    """Integers `[in, out]` and steps `[out]` whose product with the input is nearest.

    Args:
        gram: mean of x' x over the inputs, `[in, in]`; it is changed.
        noise: variance that rounding adds to each channel of the input.
    """
    aimed_gram = gram @ weight
    diagonal = np.einsum("ii->i", gram)  # a view: the matrix of a large model is not copied
    diagonal += noise
    mean = float(diagonal.mean())
    diagonal += 1e-9 * mean
    # What the weights should be, now that the input is not exact.
    aimed = np.linalg.solve(gram, aimed_gram)
    diagonal += DAMPING * mean
    order = np.argsort(-diagonal)
    spread = np.linalg.cholesky(np.linalg.inv(gram[np.ix_(order, order)])).T
    steps = steps_of(aimed.astype(np.float32))
    integers = _round_rows(aimed[order].astype(np.float32), steps, spread, order)
    result = np.empty_like(integers)
    result[order] = integers
    return result, steps


def _round_rows(
    weight: FloatArray,
    steps: FloatArray,
    spread: npt.NDArray[np.float64],
    order: npt.NDArray[np.int64],
) -> Integers:
    """Round the rows in this order; `spread` is upper triangular, in the same order."""
    spread = spread.astype(np.float32)
    place = np.argsort(order)
    integers = np.zeros(weight.shape, dtype=np.int16)
    for begin in range(0, len(weight), BLOCK):
        end = min(begin + BLOCK, len(weight))
        errors = np.empty((end - begin, weight.shape[1]), dtype=np.float32)
        for row in range(begin, end):
            neighbour = order[row] ^ 1
            mate = integers[place[neighbour]] if neighbour < len(weight) else 0
            low = np.maximum(-LARGEST, -LARGEST_PAIR - np.minimum(mate, 0))
            high = np.minimum(LARGEST, LARGEST_PAIR - np.maximum(mate, 0))
            rounded = np.clip(np.rint(weight[row] / steps), low, high)
            integers[row] = rounded
            error = (weight[row] - rounded * steps) / spread[row, row]
            errors[row - begin] = error
            weight[row + 1 : end] -= np.outer(spread[row, row + 1 : end], error)
        weight[end:] -= spread[begin:end, end:].T @ errors
    return integers.astype(np.int8)
