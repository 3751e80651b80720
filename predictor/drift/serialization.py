"""Sketches and references as JSON, about 30 kB: for other pods, and for the folder of a version.

Everything that is read is validated: it may come from another pod, or from a damaged file.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from predictor.drift.projection import WIDTH
from predictor.drift.reference import DriftReference
from predictor.drift.sketch import (
    MOST_ROWS,
    NUMBERS,
    SAMPLE,
    SIZES,
    UNIT,
    BadSketch,
    ModelIdentity,
    Sketch,
)
from predictor.drift.window import BLOCK

FORMAT = 1
MOST_BYTES = 1 << 20
# Shares sum to one per row; a projected component of a unit vector is at most
# sqrt(dimensions) / 5.7.
LARGEST = 1 << 26


class _Sketch(msgspec.Struct, forbid_unknown_fields=True):
    """Counts as [place, count, place, count, ...] without zeros; sums in full; arrays as bytes."""

    format: int
    identity: ModelIdentity
    numbers: dict[str, int]
    counts: dict[str, list[int]]
    keys: bytes
    sample: bytes


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    made: float
    windows: int
    baseline: dict[str, float]
    sketch: _Sketch


def sketch_to_bytes(sketch: Sketch) -> bytes:
    return msgspec.json.encode(_form(sketch))


def reference_to_bytes(reference: DriftReference) -> bytes:
    form = _Reference(
        FORMAT, reference.made, reference.windows, reference.baseline, _form(reference.sketch)
    )
    return msgspec.json.encode(form)


def sketch_from_bytes(content: bytes) -> Sketch:
    """Raises BadSketch: it is not valid, or has another format."""
    return _read(content, _Sketch, _sketch)


def reference_from_bytes(content: bytes) -> DriftReference:
    """Raises BadSketch: it is not valid, or has another format."""
    return _read(content, _Reference, _reference)


Form = TypeVar("Form", _Sketch, _Reference)
Read = TypeVar("Read")


class _Format(msgspec.Struct):
    format: int


def _read(content: bytes, form: type[Form], build: Callable[[Form], Read]) -> Read:
    if len(content) > MOST_BYTES:
        raise BadSketch(f"{len(content)} bytes; the most are {MOST_BYTES}")
    try:
        version = msgspec.json.decode(content, type=_Format).format
        if version != FORMAT:
            raise BadSketch(f"format {version}; this version reads format {FORMAT}")
        return build(msgspec.json.decode(content, type=form))
    except (msgspec.DecodeError, RecursionError, OverflowError, KeyError) as error:
        raise BadSketch("not readable: damaged, or something else") from error


def _form(sketch: Sketch) -> _Sketch:
    return _Sketch(
        format=FORMAT,
        identity=sketch.identity,
        numbers={name: int(getattr(sketch, name)) for name in NUMBERS},
        counts={name: _sparse(getattr(sketch, name)) for name in SIZES},
        keys=sketch.keys.astype("<u8").tobytes(),
        sample=sketch.sample.astype("<f2").tobytes(),
    )


def _sparse(counts: npt.NDArray[np.int64]) -> list[int]:
    places = np.flatnonzero(counts)
    pairs: list[int] = np.stack([places, counts[places]], axis=1).ravel().tolist()
    return pairs


def _dense(pairs: list[int], size: int) -> npt.NDArray[np.int64]:
    values = np.array(pairs, np.int64)
    places = values[::2]
    _check(len(values) % 2 == 0)
    _check(bool((places >= 0).all() and (places < size).all()))
    counts = np.zeros(size, np.int64)
    counts[places] = values[1::2]
    return counts


def _sketch(form: _Sketch) -> Sketch:
    _check(len(form.keys) % 8 == 0 and len(form.keys) <= 8 * SAMPLE)
    keys = np.frombuffer(form.keys, "<u8").astype(np.uint64)
    _check(len(form.sample) == 2 * WIDTH * len(keys))
    sample = np.frombuffer(form.sample, "<f2").reshape(-1, WIDTH).astype(np.float16)
    _check(set(form.numbers) == set(NUMBERS) and set(form.counts) == set(SIZES))
    _check(0 < form.identity.dimensions < 1 << 20)
    arrays: Any = {n: _dense(form.counts[n], size) for n, size in SIZES.items()}
    numbers: Any = form.numbers
    sketch = Sketch(form.identity, **numbers, **arrays, keys=keys, sample=sample)
    _check_sums(sketch)
    return sketch


def _check_sums(sketch: Sketch) -> None:
    """Check what holds for every sketch that was made by observing and merging."""
    rows = sketch.rows
    _check(0 <= rows <= MOST_ROWS)
    for part in (sketch.broken, sketch.truncated, sketch.scripted, sketch.unknown // UNIT):
        _check(0 <= part <= rows)
    for counts in (sketch.lengths, sketch.norms, sketch.scripts, sketch.cosines, sketch.second):
        _check(bool((counts >= 0).all()))
    for counts in (sketch.lengths, sketch.norms, sketch.cosines // BLOCK):
        _check(bool((counts <= rows).all()))
    _check(int(sketch.lengths.sum()) == rows)
    _check(int(sketch.norms.sum()) == sketch.directed)
    for sums in (sketch.scripts, sketch.first, sketch.second):
        _check(bool((np.abs(sums) <= LARGEST * max(1, rows)).all()))
    _check(len(sketch.keys) == min(SAMPLE, sketch.directed))
    _check(bool(np.isfinite(sketch.sample).all()))
    _check(bool((sketch.keys[1:] >= sketch.keys[:-1]).all()))


def _reference(form: _Reference) -> DriftReference:
    _check(form.windows > 0 and all(value >= 0 for value in form.baseline.values()))
    return DriftReference(_sketch(form.sketch), form.made, form.windows, form.baseline)


def _check(holds: bool) -> None:
    if not holds:
        raise BadSketch("not readable: its figures contradict each other")
