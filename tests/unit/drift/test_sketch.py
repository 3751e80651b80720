"""Sketches: what they keep, that merging does not care for order, that reading trusts nothing."""

import base64
import json
from functools import reduce

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.drift import scripts, serialization
from predictor.drift.reference import DriftReference, learn
from predictor.drift.sketch import MOST_ROWS, SAMPLE, UNIT, BadSketch, ModelIdentity, Sketch, empty
from predictor.drift.window import BLOCK, Window

IDENTITY = ModelIdentity("0123456789ab", "fp32", 16)


def some(seed: int, count: int, identity: ModelIdentity = IDENTITY) -> Sketch:
    generator = np.random.default_rng(seed)
    window = Window(identity, generator)
    texts = ["hello wörld", "привет", "12", ""]
    for start in range(0, count, 7):
        n = min(7, count - start)
        lengths = generator.integers(1, 300, n).tolist()
        window.observe(
            lengths,
            [length > 250 for length in lengths],
            [1] * n,
            scripts.shares([texts[k % 4] for k in range(n)]),
            generator.standard_normal((n, identity.dimensions), np.float32),
        )
    return window.sketch()


def stored(sketch: Sketch) -> bytes:
    return serialization.sketch_to_bytes(sketch)


SKETCHES = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 400)), min_size=2, max_size=4).map(
    lambda arguments: [some(seed, count) for seed, count in arguments]
)


@settings(max_examples=30)
@given(SKETCHES, st.randoms(use_true_random=False))
def test_merging_gives_the_same_bytes_in_any_order(sketches: list[Sketch], random: object) -> None:
    shuffled = list(sketches)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    left = reduce(Sketch.merge, sketches)
    right = reduce(lambda done, sketch: sketch.merge(done), shuffled)
    assert stored(left) == stored(right)
    assert stored(left.merge(empty(IDENTITY))) == stored(left)
    assert left.rows == sum(sketch.rows for sketch in sketches)


@pytest.mark.parametrize("count", [1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])
def test_every_row_counts_once(count: int) -> None:
    sketch = some(1, count)
    assert sketch.rows == count == sketch.lengths.sum() == sketch.norms.sum()
    assert len(sketch.keys) == min(SAMPLE, count)
    assert sketch.directed == count


def test_the_sums_are_those_of_the_rows() -> None:
    rows = np.random.default_rng(2).standard_normal((300, 16), np.float32)
    window = Window(IDENTITY, np.random.default_rng(3))
    window.observe([10] * 300, [True] * 30 + [False] * 270, [1] * 300, None, rows)
    sketch = window.sketch()
    assert sketch.unknown / UNIT == pytest.approx(30, rel=1e-4)
    assert (sketch.truncated, sketch.scripted) == (30, 0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    length = np.linalg.norm(sketch.mean())
    assert length == pytest.approx(np.linalg.norm(unit.mean(axis=0)), abs=0.1)
    assert sketch.variance() == pytest.approx(1, abs=0.2)


def test_rows_without_direction_are_counted_and_spoil_nothing() -> None:
    rows = np.random.default_rng(4).standard_normal((100, 16), np.float32)
    rows[3], rows[40], rows[99] = 0, np.nan, np.inf
    window = Window(IDENTITY, np.random.default_rng(5))
    window.observe([5] * 100, [False] * 100, [0] * 100, None, rows)
    sketch = window.sketch()
    assert (sketch.rows, sketch.broken, sketch.norms.sum()) == (100, 3, 97)
    assert np.isfinite(sketch.mean()).all()
    assert stored(serialization.sketch_from_bytes(stored(sketch))) == stored(sketch)


def test_observing_copies_what_it_is_given() -> None:
    rows = np.ones((2, 16), np.float32)
    window = Window(IDENTITY, np.random.default_rng(6))
    window.observe([5, 5], [False] * 2, [0, 0], None, rows)
    rows[:] = np.nan
    assert window.sketch().broken == 0


def test_the_sample_is_fair_after_merging() -> None:
    """A pod with nine times the rows has nine tenths of the sample."""
    small, large = some(7, 1000), some(8, 9000)
    keys = set(small.keys.tolist())
    from_small = sum(key in keys for key in small.merge(large).keys.tolist())
    assert SAMPLE * 0.05 < from_small < SAMPLE * 0.16


def test_models_are_not_mixed() -> None:
    other = ModelIdentity("0123456789ab", "int8", 16)
    with pytest.raises(BadSketch, match="of different models"):
        some(1, 3).merge(some(1, 3, other))


def test_rows_beyond_counting_are_refused() -> None:
    full = msgspec.json.decode(stored(some(1, 3)))
    full["numbers"]["rows"] = MOST_ROWS
    full["counts"]["lengths"] = [0, MOST_ROWS]
    full["counts"]["norms"] = [0, MOST_ROWS]
    with pytest.raises(BadSketch):
        serialization.sketch_from_bytes(json.dumps(full).encode())


def test_a_stored_sketch_is_read_back_unchanged() -> None:
    sketch = some(9, 700)
    reference = learn([sketch, some(10, 300)], made=1.5e9)
    assert stored(serialization.sketch_from_bytes(stored(sketch))) == stored(sketch)
    content = serialization.reference_to_bytes(reference)
    again = serialization.reference_from_bytes(content)
    assert serialization.reference_to_bytes(again) == content
    assert (again.made, again.windows, again.baseline) == (1.5e9, 2, reference.baseline)
    assert len(content) < 40_000


def test_a_sketch_stays_small() -> None:
    few, many = stored(some(11, 300)), stored(some(12, 6000))
    assert len(many) < 1.3 * len(few)
    assert "hello" not in many.decode()


def changed(path: str, value: object) -> bytes:
    content = json.loads(stored(some(13, 300)))
    place, _, last = path.rpartition(".")
    inner = content
    for part in filter(None, place.split(".")):
        inner = inner[part]
    inner[last] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * ((1 << 20) + 1),
        stored(some(13, 300))[:-5],
        changed("format", 2), changed("extra", 1), changed("identity.dimensions", 0),
        changed("numbers.rows", 301), changed("numbers.rows", -1), changed("numbers.broken", 5),
        changed("numbers.rows", 10**30), changed("numbers.truncated", 301),
        changed("numbers", {}), changed("counts", {}), changed("counts.lengths", [5, 300, 1]),
        changed("counts.lengths", [500, 300]), changed("counts.lengths", [-1, 300]),
        changed("counts.lengths", [0, 400, 1, -100]),
        changed("counts.lengths", [0, 1 << 62, 1, 1 << 62, 2, 1 << 62, 3, 1 << 62, 4, 300]),
        changed("counts.cosines", [0, 1 << 62]), changed("counts.first", [0, 10**18]),
        changed("counts.scripts", [0, 10**30]), changed("keys", ""), changed("keys", "AAAA"),
        changed("sample", ""), changed("sample", "/////"),
    ],
)  # fmt: skip
def test_a_malformed_sketch_is_refused(content: bytes) -> None:
    with pytest.raises(BadSketch) as caught:
        serialization.sketch_from_bytes(content)
    assert "\n" not in str(caught.value)


def test_damaged_arrays_are_refused() -> None:
    content = json.loads(stored(some(13, 300)))
    not_finite = np.full(SAMPLE * 32, np.nan, "<f2").tobytes()
    descending = np.arange(SAMPLE)[::-1].astype("<u8").tobytes()
    for name, array in (("sample", not_finite), ("keys", descending)):
        damaged = content | {name: base64.b64encode(array).decode()}
        with pytest.raises(BadSketch):
            serialization.sketch_from_bytes(json.dumps(damaged).encode())


def test_a_reference_is_no_sketch() -> None:
    reference = DriftReference(some(1, 300), 0.0, 1)
    with pytest.raises(BadSketch):
        serialization.sketch_from_bytes(serialization.reference_to_bytes(reference))


def test_references_of_pods_are_merged() -> None:
    first = DriftReference(some(1, 300), 5.0, 2, {"norms": 0.1, "mmd": 0.2})
    second = DriftReference(some(2, 100), 9.0, 3, {"norms": 0.3})
    both, back = first.merge(second), second.merge(first)
    assert serialization.reference_to_bytes(both) == serialization.reference_to_bytes(back)
    assert (both.made, both.windows, both.baseline) == (9.0, 5, {"norms": 0.3, "mmd": 0.2})
    with pytest.raises(BadSketch, match="no windows"):
        learn([], 0.0)
