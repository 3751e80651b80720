"""The kept vectors are those that sentence-transformers gives, recomputed where torch is."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tests.reference import make_reference
from tests.reference.texts import digest, texts

KEPT = Path(__file__).with_name("minilm.npz")


def test_the_kept_vectors_belong_to_these_texts() -> None:
    with np.load(KEPT) as kept:
        assert str(kept["texts_sha256"]) == digest(texts())
        assert len(kept["vectors"]) == len(texts()) >= 200


@pytest.mark.reference
@pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="sentence-transformers is not installed; the kept vectors are used as they are",
)
def test_recomputed_vectors_are_the_kept_ones(model_dir: Path) -> None:
    fresh = make_reference.compute(model_dir)
    with np.load(KEPT) as kept:
        assert np.abs(fresh["vectors"] - kept["vectors"]).max() < 1e-5
        assert fresh["token_counts"].tolist() == kept["token_counts"].tolist()
