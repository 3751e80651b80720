"""What goes into each linear layer while the float32 graph reads the calibration texts."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from predictor.engine.bundle import Bundle
from predictor.engine.packing import pack
from predictor.engine.session import Session
from predictor.export.onnx_file import OnnxFile
from predictor.export.smooth import Activation
from predictor.export.weights import FloatArray

# Rows (tokens) of each layer's input that products are compared on, and that the correlation of
# its channels is taken over.
SAMPLE_ROWS = 512
GRAM_ROWS = 4096
# The correlation is a product of large matrices only if it is not taken batch by batch.
ROWS_AT_ONCE = 256
OBSERVED = "observed.onnx"


class _Running:
    """Statistics of one value, batch by batch."""

    def __init__(self, width: int) -> None:
        self._low = np.full(width, np.inf, dtype=np.float32)
        self._high = np.full(width, -np.inf, dtype=np.float32)
        self._gram = np.zeros((width, width), dtype=np.float32)
        self._sample: list[FloatArray] = []
        self._waiting: list[FloatArray] = []
        self._rows = 0

    def add(self, value: FloatArray, chosen: FloatArray) -> None:
        """`chosen`: a random number below 1 for each row."""
        np.minimum(self._low, value.min(axis=0), out=self._low)
        np.maximum(self._high, value.max(axis=0), out=self._high)
        self._sample.append(value[chosen < SAMPLE_ROWS / GRAM_ROWS])
        self._waiting.append(value[chosen < 1])
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


def observe(
    file: OnnxFile,
    bundle: Bundle,
    batches: Sequence[Sequence[Sequence[int]]],
    threads: int,
    advance: Callable[[], object],
) -> dict[str, Activation]:
    """Run batches of calibration rows; an `Activation` by the name of the value."""
    names = list(dict.fromkeys(linear.x for linear in file.linears()))
    path = file.path.with_name(OBSERVED)
    file.with_outputs(names, path)
    running: dict[str, _Running] = {}
    share = GRAM_ROWS / sum(len(row) for batch in batches for row in batch)
    random = np.random.default_rng(0)
    try:
        for values in _run(path, bundle, batches, names, threads):
            chosen = (random.random(len(values[names[0]])) / share).astype(np.float32)
            for name, value in values.items():
                running.setdefault(name, _Running(value.shape[1])).add(value, chosen)
            advance()
    finally:
        path.unlink(missing_ok=True)
    return {name: one.result() for name, one in running.items()}


def _run(
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
