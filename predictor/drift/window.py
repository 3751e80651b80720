"""The open window: takes rows as requests are answered, and sketches them 64 at a time."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from predictor.drift.projection import project
from predictor.drift.sampling import PER_REQUEST
from predictor.drift.scripts import SCRIPTS
from predictor.drift.sketch import (
    COSINES,
    LENGTHS,
    LOWEST_OCTAVE,
    NORMS,
    PER_OCTAVE,
    UNIT,
    ModelIdentity,
    Sketch,
    empty,
    smallest,
)
from predictor.similarity import Floats
from predictor.types import FloatRows

BLOCK = 64
# Pairs of a block for the distribution of similarities. Rows of one request are neighbours and
# alike, so the two rows of a pair are more than one request's rows apart.
LEFT, RIGHT = np.triu_indices(BLOCK, PER_REQUEST)


class Window:
    """Collects rows into a sketch. `generator` draws the sample's keys, different ones per pod."""

    def __init__(self, identity: ModelIdentity, generator: np.random.Generator) -> None:
        self._generator = generator
        self._sketch = empty(identity)
        self._rows = np.empty((BLOCK, identity.dimensions), np.float32)
        self._scripts = np.zeros((BLOCK, len(SCRIPTS)), np.float32)
        self._counts: list[tuple[int, bool, int]] = []

    @property
    def count(self) -> int:
        """Rows observed."""
        return self._sketch.rows + len(self._counts)

    def observe(
        self,
        lengths: Sequence[int],
        truncated: Sequence[bool],
        unknown: Sequence[int],
        scripts: npt.NDArray[np.float32] | None,
        rows: FloatRows,
    ) -> None:
        """Add rows; all arguments hold one entry per row.

        Args:
            lengths, unknown: tokens of each row, and how many of them are the unknown token.
            scripts: shares `[N, len(SCRIPTS)]`; None for rows that came as token ids.
            rows: un-normalised vectors `[N, dimensions]`; copied.
        """
        done = 0
        while done < len(rows):
            begin = len(self._counts)
            count = min(BLOCK - begin, len(rows) - done)
            end = begin + count
            until = done + count
            self._rows[begin:end] = rows[done:until]
            self._scripts[begin:end] = 0 if scripts is None else scripts[done:until]
            self._counts += zip(
                lengths[done:until], truncated[done:until], unknown[done:until], strict=True
            )
            done = until
            if end == BLOCK:
                self._flush()

    def sketch(self) -> Sketch:
        """Everything observed so far."""
        self._flush()
        return self._sketch

    def _flush(self) -> None:
        count = len(self._counts)
        if count:
            keys = self._generator.integers(0, 1 << 64, count, np.uint64)
            rows, scripts = self._rows[:count], self._scripts[:count]
            block = sketch_of(self._sketch.identity, self._counts, scripts, rows, keys)
            self._sketch = self._sketch.merge(block)
            self._counts.clear()


def sketch_of(
    identity: ModelIdentity,
    counts: Sequence[tuple[int, bool, int]],
    scripts: npt.NDArray[np.float32],
    rows: FloatRows,
    keys: npt.NDArray[np.uint64],
) -> Sketch:
    """The sketch of at most BLOCK rows.

    Args:
        counts: length, whether truncated, and unknown tokens of each row.
        scripts: shares `[N, len(SCRIPTS)]`; all zeros for rows without text.
        rows: un-normalised vectors `[N, dimensions]`.
        keys: random, `[N]`.
    """
    lengths, truncated, unknown = np.array(counts, np.int64).T
    bins = np.searchsorted(LENGTHS, lengths, side="right") - 1
    norms, unit, good = directions(rows)
    projected = project(unit)
    order, sample = smallest(keys[good], projected.astype(np.float16))
    return Sketch(
        identity=identity,
        rows=len(rows),
        broken=len(rows) - len(unit),
        truncated=int(truncated.sum()),
        unknown=int(np.rint(unknown / np.maximum(lengths, 1) * UNIT).sum()),
        scripted=int(scripts.any(axis=1).sum()),
        lengths=np.bincount(bins, minlength=len(LENGTHS)),
        scripts=np.rint(scripts * UNIT).astype(np.int64).sum(axis=0),
        norms=np.bincount(norm_bins(norms), minlength=NORMS),
        cosines=cosine_counts(unit),
        first=np.rint(projected * UNIT).astype(np.int64).sum(axis=0),
        second=np.rint(projected**2 * UNIT).astype(np.int64).sum(axis=0),
        keys=order,
        sample=sample,
    )


def directions(rows: FloatRows) -> tuple[Floats, FloatRows, npt.NDArray[np.bool_]]:
    """Norms `[M]` and unit vectors `[M, dimensions]` of the rows with a direction, and which."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    good = np.isfinite(norms) & (norms > 0)
    rows, norms = rows[good], norms[good]
    return norms, (rows / norms[:, None]).astype(np.float32), good


def norm_bins(norms: Floats) -> npt.NDArray[np.int64]:
    """The bin of each norm; norms beyond the ends fall into the first or last bin."""
    places = np.floor((np.log2(norms) - LOWEST_OCTAVE) * PER_OCTAVE).astype(np.int64)
    result: npt.NDArray[np.int64] = np.clip(places, 0, NORMS - 1)
    return result


def cosine_counts(unit: FloatRows) -> npt.NDArray[np.int64]:
    """Histogram `[COSINES]` of the similarities of the block's pairs."""
    similar = unit @ unit.T
    if len(unit) == BLOCK:
        pairs = similar[LEFT, RIGHT]
    else:
        pairs = similar[np.triu_indices(len(unit), PER_REQUEST)]
    places = ((pairs + 1) * (COSINES / 2)).astype(np.int64)
    return np.bincount(np.clip(places, 0, COSINES - 1), minlength=COSINES)
