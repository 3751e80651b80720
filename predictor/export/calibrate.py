"""Measures the input of each linear layer while the float32 graph reads the calibration texts.

A static quantiser fixes its scales by these figures.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from predictor.bundle.manifest import Bundle
from predictor.engine.packing import pack
from predictor.engine.session import Session
from predictor.export.onnx_file import OnnxFile
from predictor.export.smoothquant import Activation
from predictor.export.weights import FloatArray

# Rows (tokens) of each layer's input that products are compared on, and that the correlation of
# its channels is taken over.
SAMPLE_ROWS = 512
GRAM_ROWS = 4096
# The correlation is a product of large matrices only if it is not taken batch by batch.
ROWS_AT_ONCE = 256
CALIBRATION_GRAPH = "calibration.onnx"


class _RunningStatistics:
    """Statistics of one value, batch by batch."""

    def __init__(self, width: int) -> None:
        self._low = np.full(width, np.inf, dtype=np.float32)
        self._high = np.full(width, -np.inf, dtype=np.float32)
        self._gram = np.zeros((width, width), dtype=np.float32)
        self._sample: list[FloatArray] = []
        self._waiting: list[FloatArray] = []
        self._rows = 0

    def add(self, value: FloatArray, lottery: FloatArray) -> None:
        """Add rows `[n, in]`; those with a small number in `lottery` `[n]` are sampled."""
        np.minimum(self._low, value.min(axis=0), out=self._low)
        np.maximum(self._high, value.max(axis=0), out=self._high)
        self._sample.append(value[lottery < SAMPLE_ROWS / GRAM_ROWS])
        self._waiting.append(value[lottery < 1])
        if sum(map(len, self._waiting)) >= ROWS_AT_ONCE:
            self._correlate()

    def _correlate(self) -> None:
        rows = np.concatenate(self._waiting)
        self._gram += rows.T @ rows
        self._rows += len(rows)
        self._waiting.clear()

    def result(self) -> Activation:
        if self._waiting:
            self._correlate()
        gram = self._gram / np.float32(max(self._rows, 1))
        return Activation(self._low, self._high, np.concatenate(self._sample), gram)


def calibrate(
    file: OnnxFile,
    bundle: Bundle,
    batches: Sequence[Sequence[Sequence[int]]],
    threads: int,
    advance: Callable[[], object],
) -> dict[str, Activation]:
    """Run batches of calibration rows.

    Args:
        advance: called after each batch.

    Returns:
        An `Activation` by the name of the value.
    """
    names = list(dict.fromkeys(linear.x for linear in file.linears()))
    path = file.path.with_name(CALIBRATION_GRAPH)
    file.with_outputs(names, path)
    running: dict[str, _RunningStatistics] = {}
    share = GRAM_ROWS / sum(len(row) for batch in batches for row in batch)
    random = np.random.default_rng(0)
    try:
        for values in _run_batches(path, bundle, batches, names, threads):
            lottery = (random.random(len(values[names[0]])) / share).astype(np.float32)
            for name, value in values.items():
                running.setdefault(name, _RunningStatistics(value.shape[1])).add(value, lottery)
            advance()
    finally:
        path.unlink(missing_ok=True)
    return {name: statistics.result() for name, statistics in running.items()}


def _run_batches(
    path: Path,
    bundle: Bundle,
    batches: Sequence[Sequence[Sequence[int]]],
    names: list[str],
    threads: int,
) -> Iterator[dict[str, FloatArray]]:
    session = Session(path, threads=threads, spin=False)
    for batch in batches:
        feed = pack(
            batch,
            list(session.inputs),
            position_offset=bundle.position_offset,
            pad_id=bundle.pad_id,
        )
        yield session.run_all(names, feed)
