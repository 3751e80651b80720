"""Which folder is served, and that a model which is not itself any more is not."""

import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from predictor import repository
from predictor.bundle.manifest import CANONICAL, read_bundle, sha256
from predictor.errors import BadModel, BadSetting
from predictor.settings import ModelSettings


def settings(folder: Path, **model: object) -> ModelSettings:
    return ModelSettings(model_dir=str(folder), **model)  # type: ignore[arg-type]


def test_the_highest_number_is_served(bundle_dir: Path, tmp_path: Path) -> None:
    for name in ("1", "2", "10", "011", "latest", "3x"):
        (tmp_path / name).mkdir()
        shutil.copy(bundle_dir / "bundle.json", tmp_path / name)
    assert repository.find_version(tmp_path) == (tmp_path / "10", "10")
    assert repository.find_version(tmp_path / "2") == (tmp_path / "2", "2")
    assert repository.find_version(tmp_path / "latest")[1] == "1"


def test_a_directory_without_a_model_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="no model here"):
        repository.load_model(settings(tmp_path))
    with pytest.raises(BadSetting, match="no such directory"):
        repository.load_model(settings(tmp_path / "missing"))


def test_a_bundle_is_served_as_it_is(bundle_dir: Path) -> None:
    loaded = repository.load_model(settings(bundle_dir))
    assert (loaded.version, loaded.bundle.inputs) == ("1", "packed")
    with pytest.raises(BadSetting, match="pooling is part of its graph"):
        repository.load_model(settings(bundle_dir, pooling="cls"))


def test_vectors_that_are_not_reproduced_are_not_served(bundle_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(bundle_dir, folder)
    with np.load(folder / CANONICAL) as data:
        texts, vectors = data["texts"], data["vectors"].copy()
    vectors[5] = vectors[6]
    np.savez(folder / CANONICAL, texts=texts, vectors=vectors)
    bundle = read_bundle(bundle_dir)
    files = bundle.files | {CANONICAL: sha256(folder / CANONICAL)}
    manifest = msgspec.structs.replace(bundle, files=files)
    (folder / "bundle.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(BadModel, match="canonical vectors of fp32 are not reproduced"):
        repository.load_model(settings(folder))


def test_the_revision_names_the_content_not_the_place(bundle_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle_dir, tmp_path / "7")
    assert read_bundle(tmp_path / "7").revision == read_bundle(bundle_dir).revision
    assert len(read_bundle(bundle_dir).revision) == 12
