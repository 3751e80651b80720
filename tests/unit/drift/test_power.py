"""What goes wrong with a real model is seen in its traffic: all-MiniLM-L6-v2, 500 texts."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.unit.drift import faults
from tests.unit.drift.simulation import Power, power, replaced
from tests.unit.drift.traffic import Mix, Pool

USUAL = Mix("baseline", sway=0.3)
SOME = 500
pytestmark = pytest.mark.study
Wrong = Callable[[faults.Model, Path, Path], Pool]


@pytest.fixture(scope="module")
def texts(bundle_dir: Path) -> faults.Texts:
    every = faults.texts(bundle_dir / "tokenizer.json", generated=200)
    short = [text for text in every.english if len(text) < 250]
    return faults.Texts(short[-SOME:], every.russian, every.others)


@pytest.fixture(scope="module")
def model(bundle_dir: Path, texts: faults.Texts) -> faults.Model:
    return faults.Model(bundle_dir, texts.english, topics=12)


def power_of(model: faults.Model, wrong: Pool) -> Power:
    generator = np.random.default_rng(5)
    return power(
        "", model.baseline, USUAL, lambda rows: (wrong, rows), generator, count=6, learning=16
    )


def mixed_in(model: faults.Model, texts: list[str], share: float) -> Power:
    fault = replaced(model.baseline, model.of(texts), share, np.random.default_rng(6))
    return power("", model.baseline, USUAL, fault, np.random.default_rng(5), count=6, learning=16)


@pytest.mark.parametrize(
    ("wrong", "tests"),
    [
        (lambda model, *_: model.prompted(faults.LONG_PROMPT), {"lengths", "direction"}),
        (lambda model, _, scratch: model.cased(scratch), {"unknown", "direction"}),
        (lambda model, *_: model.shifted(), {"direction", "spread"}),
        (
            lambda model, _, scratch: model.rounded(faults.one_step(8, 0.25), scratch),
            {"direction", "spread"},
        ),
        (
            lambda model, files, scratch: model.pooled(files, "pooling_mode_cls_token", scratch),
            {"norms", "direction", "spread", "mmd"},
        ),
    ],
    ids=["prompt", "lower-casing", "vocabulary", "int8", "pooling"],
)
def test_a_fault_of_the_model_is_seen(
    wrong: Wrong, tests: set[str], model: faults.Model, model_dir: Path, tmp_path: Path
) -> None:
    result = power_of(model, wrong(model, model_dir, tmp_path))
    assert {name for name, share in result.by.items() if share == 1} >= tests


def test_a_new_language_is_seen(model: faults.Model, texts: faults.Texts) -> None:
    assert mixed_in(model, texts.russian, 0.1).by["scripts"] == 1


def test_a_flood_of_one_text_is_seen(model: faults.Model) -> None:
    assert mixed_in(model, faults.flooding(50), 0.25).by["direction"] == 1


def test_the_right_vectors_are_no_fault(model: faults.Model) -> None:
    assert power_of(model, model.baseline).detected == 0
