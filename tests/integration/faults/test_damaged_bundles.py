"""Bundles that are not what their manifest says."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from predictor import repository
from predictor.bundle.manifest import read_bundle, sha256
from predictor.errors import BadModel
from predictor.settings import ModelSettings
from tests.integration.faults.damaged import (
    HIDDEN,
    all_of,
    change,
    convert,
    cut,
    flip,
    load,
    put,
)
from tests.integration.test_plain_onnx import VOCABULARY, write_graph


def _sign_again(bundle: Path) -> None:
    """Write the digests of the files as they are now."""
    manifest = read_manifest(bundle)
    manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"]}
    put(bundle / "bundle.json", manifest)


def read_manifest(bundle: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads((bundle / "bundle.json").read_bytes()))


def _other_vectors(bundle: Path) -> None:
    with np.load(bundle / "canonical.npz") as data:
        texts, vectors = data["texts"], data["vectors"]
    np.savez(bundle / "canonical.npz", texts=texts, vectors=np.roll(vectors, 1, axis=0))


def _wrong_offset(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    manifest["variants"]["fp32"]["mapped"][0]["offset"] = 1 << 40
    put(bundle / "bundle.json", manifest)


BUNDLE_DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "manifest-that-is-no-json": (
        lambda bundle: (bundle / "bundle.json").write_bytes(b"{"),
        "bundle.json: not a readable manifest",
    ),
    "manifest-without-a-key": (
        lambda bundle: change(bundle / "bundle.json", variants=...),
        "bundle.json: not a readable manifest",
    ),
    "manifest-of-another-schema": (
        lambda bundle: change(bundle / "bundle.json", schema=1),
        "schema 1; this server reads schemas 2 and 3",
    ),
    "a-file-outside": (
        lambda bundle: change(bundle / "bundle.json", files={"../secret": "0"}),
        "names a file outside of its folder: '../secret'",
    ),
    "no-graph": (lambda bundle: (bundle / "model.onnx").unlink(), "model.onnx: missing"),
    "no-weights": (
        lambda bundle: (bundle / "model.onnx.data").unlink(),
        "model.onnx.data: missing",
    ),
    "another-tokenizer": (
        lambda bundle: (bundle / "tokenizer.json").write_text("{}"),
        "tokenizer.json: differs from the digest",
    ),
    "a-flipped-bit-in-the-graph": (
        lambda bundle: flip(bundle / "model.onnx"),
        "model.onnx: differs from the digest",
    ),
    "other-vectors": (
        all_of(_other_vectors, _sign_again),
        "canonical vectors of fp32 are not reproduced: smallest cosine ",
    ),
    "truncated-vectors": (
        all_of(lambda bundle: cut(bundle / "canonical.npz"), _sign_again),
        "canonical.npz: cannot be read",
    ),
    "truncated-weights": (
        all_of(lambda bundle: cut(bundle / "model.onnx.data"), _sign_again),
        "model.onnx",
    ),
    "a-table-outside-of-its-file": (_wrong_offset, "model.onnx.data"),
}


@pytest.mark.parametrize("damage", BUNDLE_DAMAGES)
def test_other_damages_of_a_bundle(tiny: Path, tmp_path: Path, damage: str) -> None:
    break_it, sentence = BUNDLE_DAMAGES[damage]
    bundle = convert(tiny, tmp_path / "cache")
    assert load(bundle, tmp_path / "unused").bundle == read_bundle(bundle)
    break_it(bundle)
    with pytest.raises(BadModel) as raised:
        load(bundle, tmp_path / "unused")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_cache_is_not_served(tiny: Path, tmp_path: Path) -> None:
    flip(convert(tiny, tmp_path / "cache") / "model.onnx.data")
    with pytest.raises(BadModel, match=r"model\.onnx\.data: differs from the digest"):
        load(tiny, tmp_path / "cache")


def test_no_convert_serves_the_graph_that_is_there(tiny: Path, tmp_path: Path) -> None:
    table = np.ones((len(VOCABULARY), HIDDEN), dtype=np.float32)
    write_graph(tiny / "onnx" / "model.onnx", table=table)
    settings = ModelSettings(
        model_dir=str(tiny), cache_dir=str(tmp_path / "cache"), threads=1, no_convert=True
    )
    model = repository.load_model(settings)
    assert (model.bundle.inputs, model.bundle.variants["fp32"].graph) == (
        "padded",
        "onnx/model.onnx",
    )
    assert not (tmp_path / "cache").exists()
