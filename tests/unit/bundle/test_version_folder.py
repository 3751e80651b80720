"""One definition of a version's folder, for the repository, for downloads and for exports."""

from pathlib import Path

import pytest

from predictor.bundle.version_folder import VERSION_NUMBER, is_version_folder


@pytest.mark.parametrize("name", ["bundle.json", "config.json", "modules.json"])
def test_a_folder_with_a_manifest_or_a_model_is_a_version(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert is_version_folder(tmp_path)


@pytest.mark.parametrize("name", ["tokenizer.json", "model.onnx", "config.json.bak"])
def test_a_folder_of_other_files_is_not(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("{}")
    assert not is_version_folder(tmp_path)


def test_a_folder_of_that_name_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").mkdir()
    assert not is_version_folder(tmp_path)


@pytest.mark.parametrize("name", ["1", "10", "999999999"])
def test_a_version_is_a_whole_number(name: str) -> None:
    assert VERSION_NUMBER.fullmatch(name)


@pytest.mark.parametrize("name", ["", "0", "01", "-1", "1.0", "v1", "1 ", "1234567890", "\u0661"])
def test_other_names_are_no_versions(name: str) -> None:
    assert not VERSION_NUMBER.fullmatch(name)
