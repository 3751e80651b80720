"""Every family of encoders, pooling and head gives the vectors of sentence-transformers.

`tests/reference/families` holds a small model of each with the vectors that it should give, and
says how they were made; the code under test has no part in them.
"""

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from predictor.bundle.manifest import TOKENIZER, read_bundle
from predictor.bundle.source import read_source
from predictor.engine.engine import OnnxEngine
from predictor.engine.pooling import finish
from predictor.engine.tokenizer import Tokenizer
from predictor.export.convert import convert_cached
from predictor.export.convertible import can_convert
from predictor.similarity import cosines
from predictor.types import FloatRows
from tests.reference.families import make_families
from tests.reference.families.folders import FORMS, MODELS, REFERENCE, assemble, names
from tests.reference.families.texts import family_texts
from tests.reference.texts import digest

Form = Callable[[Path], None] | None
# A stored model, and another form that its folder is brought into first.
CASES: dict[str, tuple[str, Form]] = {name: (name, None) for name in names()} | {
    f"{name}, {form}": (name, change) for name, form, change in FORMS
}
COSINE = 0.99999
DIFFERENCE = 1e-4
BATCH_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Model:
    """A converted model, the reference texts as its token ids, and the vectors they should have.

    run: token ids to the vectors that a client gets; `wide` with all threads.
    """

    rows: list[list[int]]
    run: Callable[..., FloatRows]
    expected: FloatRows
    token_counts: list[int]


def open_model(folder: Path, cache: Path) -> tuple[list[list[int]], Callable[..., FloatRows]]:
    """Convert and load as the server does; the ids of the texts, and what turns ids to vectors."""
    source = read_source(folder)
    assert can_convert(source), f"model type {source.family!r} cannot be converted"
    version = convert_cached(source, cache, threads=2)
    bundle = read_bundle(version)
    tokenizer = Tokenizer(version / TOKENIZER, bundle.max_length, lower_case=bundle.lower_case)
    engine = OnnxEngine(version, bundle, threads=2)
    prompt = bundle.prompts.get(bundle.default_prompt_name or "", "")
    rows = tokenizer.encode([prompt + text for text in family_texts()]).ids

    def run(rows: Sequence[Sequence[int]], *, wide: bool = False) -> FloatRows:
        return finish(engine.run(rows, wide=wide), None, bundle.normalize)

    return rows, run


@pytest.fixture(scope="module", params=CASES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    name, form = CASES[request.param]
    work = tmp_path_factory.mktemp("family")
    folder = assemble(name, work / name)
    if form is not None:
        form(folder)
    rows, run = open_model(folder, work / "cache")
    with np.load(MODELS / name / REFERENCE) as kept:
        return Model(rows, run, kept["vectors"], kept["token_counts"].tolist())


def distances(vectors: FloatRows, expected: FloatRows) -> npt.NDArray[Any]:
    """Each row's largest difference, as a part of the row's largest component."""
    scale = np.abs(expected).max(axis=1)
    distance: npt.NDArray[Any] = np.abs(vectors - expected).max(axis=1) / scale
    return distance


def assert_right(vectors: FloatRows, expected: FloatRows) -> None:
    assert vectors.shape == expected.shape
    cosine = cosines(vectors, expected)
    distance = distances(vectors, expected)
    wrong = np.flatnonzero(~((cosine >= COSINE) & (distance <= DIFFERENCE)))
    assert not wrong.size, "\n".join(
        f"{family_texts()[row][:40]!r}: cosine {cosine[row]:.7f}, difference {distance[row]:.1e}"
        for row in wrong
    )


def in_batches(model: Model, batches: Iterable[npt.NDArray[np.int64]]) -> FloatRows:
    """The vectors in the order of the texts, whatever the batches they were computed in."""
    vectors = np.full_like(model.expected, np.nan)
    for batch in batches:
        vectors[batch] = model.run([model.rows[row] for row in batch])
    return vectors


def test_the_texts_become_as_many_tokens(model: Model) -> None:
    assert [len(row) for row in model.rows] == model.token_counts


@pytest.mark.parametrize("wide", [False, True])
def test_a_text_alone(model: Model, wide: bool) -> None:
    alone = np.concatenate([model.run([row], wide=wide) for row in model.rows])
    assert_right(alone, model.expected)


def test_all_texts_in_one_batch(model: Model) -> None:
    assert_right(model.run(model.rows), model.expected)


@pytest.mark.parametrize("size", [2, 7, 16])
def test_shuffled_batches(model: Model, size: int) -> None:
    order = np.random.default_rng(size).permutation(len(model.rows))
    batches = np.array_split(order, -(-len(order) // size))
    assert_right(in_batches(model, batches), model.expected)


def test_a_batch_changes_nothing(model: Model) -> None:
    alone = np.concatenate([model.run([row]) for row in model.rows])
    assert distances(model.run(model.rows), alone).max() <= BATCH_DIFFERENCE


@pytest.mark.parametrize("name", names())
def test_the_kept_vectors_belong_to_these_texts(name: str) -> None:
    with np.load(MODELS / name / REFERENCE) as kept:
        assert str(kept["texts_sha256"]) == digest(family_texts())
        assert len(kept["vectors"]) == len(kept["token_counts"]) == len(family_texts())


@pytest.mark.reference
@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed; the kept vectors are used as they are",
)
@pytest.mark.parametrize("case", CASES)
def test_recomputed_vectors_are_the_kept_ones(case: str) -> None:
    make_families.check(*CASES[case])
