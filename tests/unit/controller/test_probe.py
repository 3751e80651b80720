"""Vectors of canary and stable version: what is the same, what is not, what is none."""

import numpy as np
import pytest

from predictor.controller.probe import judge_configurations, judge_vectors
from predictor.rollout.spec import Spec, read_spec
from predictor.types import FloatRows
from tests.unit.controller.stories import rollout

ROWS = 64


def spec(vectors: str = "Same", **limits: float) -> Spec:
    return read_spec(rollout(vectors=vectors, analysis={"vectors": limits}))


def rows(width: int = 32, seed: int = 0) -> FloatRows:
    return np.random.default_rng(seed).standard_normal((ROWS, width)).astype(np.float32)


def turned(vectors: FloatRows, cosine: float) -> FloatRows:
    """Rows of length one at this cosine to the rows given."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    other = rows(vectors.shape[1], seed=9)
    other -= (other * unit).sum(axis=1, keepdims=True) * unit
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    made: FloatRows = (cosine * unit + np.sqrt(1 - cosine**2) * other).astype(np.float32)
    return made


@pytest.mark.parametrize(
    ("cosine", "verdict"),
    [(1.0, "Successful"), (0.9995, "Successful"), (0.998, "Failed"), (0.98, "Failed")],
)
def test_the_same_model(cosine: float, verdict: str) -> None:
    measurement = judge_vectors(spec(), rows(), turned(rows(), cosine))
    assert measurement.verdict == verdict
    assert measurement.message.startswith(f"smallest cosine {cosine:.4f}")


def test_one_invalid_vector_fails() -> None:
    vectors = turned(rows(), 1.0)
    vectors[17] = turned(rows(), 0.9)[17]
    assert judge_vectors(spec(), rows(), vectors).verdict == "Failed"
    assert judge_vectors(spec(tolerance=0.85), rows(), vectors).verdict == "Successful"


def test_other_dimensions() -> None:
    measurement = judge_vectors(spec(), rows(32), rows(48))
    assert (measurement.verdict, measurement.message) == (
        "Failed",
        "48 dimensions, the stable version gives 32",
    )


def test_another_model_is_measured_by_its_neighbours() -> None:
    rotation = np.linalg.qr(np.random.default_rng(3).standard_normal((32, 32)))[0]
    same = (rows() @ rotation).astype(np.float32)
    assert judge_vectors(spec(), rows(), same).verdict == "Failed"
    assert judge_vectors(spec("Changed"), rows(), same).verdict == "Successful"
    measurement = judge_vectors(spec("Changed"), rows(), rows(48, seed=5))
    assert measurement.verdict == "Failed"
    assert "neighbours" in measurement.message


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_vectors_that_are_none(value: float) -> None:
    vectors = rows()
    vectors[3] = value
    for kind in ("Same", "Changed"):
        assert judge_vectors(spec(kind), rows(), vectors).verdict == "Failed"


def test_another_configuration_fails_unless_other_vectors_are_meant() -> None:
    measurement = judge_configurations(spec(), "a1", "b2")
    assert measurement is not None
    assert measurement.verdict == "Failed"
    assert "configuration b2" in measurement.message
    assert "set vectors: Changed" in measurement.message
    assert judge_configurations(spec("Changed"), "a1", "b2") is None
    assert judge_configurations(spec(), "a1", "a1") is None


@pytest.mark.parametrize(("stable", "canary"), [("", "b2"), ("a1", ""), ("", "")])
def test_a_configuration_that_is_not_known_is_no_reason(stable: str, canary: str) -> None:
    assert judge_configurations(spec(), stable, canary) is None
