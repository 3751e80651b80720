"""References on disk: found again, never taken for another model's, never half written."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from predictor.drift import DriftReference, ModelIdentity, learn, reference_to_bytes
from predictor.drift.window import Window
from predictor.server.watch.drift_files import PUBLISHED_REFERENCE, DriftFiles

IDENTITY = ModelIdentity("1234abcd", "fp32", 16)


def reference(identity: ModelIdentity = IDENTITY, seed: int = 0) -> DriftReference:
    generator = np.random.default_rng(seed)
    window = Window(identity, generator)
    rows = generator.standard_normal((64, identity.dimensions)).astype(np.float32)
    window.observe([5] * 64, [False] * 64, [0] * 64, None, rows)
    return learn([window.sketch()], made=1.0)


@pytest.fixture
def files(tmp_path: Path) -> DriftFiles:
    return DriftFiles(tmp_path / "drift")


@pytest.fixture
def version(tmp_path: Path) -> Path:
    folder = tmp_path / "7"
    folder.mkdir()
    return folder


def test_a_written_reference_is_found(files: DriftFiles, version: Path) -> None:
    assert files.find(IDENTITY, version) is None
    files.write(IDENTITY, "reference", reference_to_bytes(reference()))
    loaded = files.find(IDENTITY, version)
    assert loaded is not None
    assert loaded.sketch.rows == 64
    path = files.path(IDENTITY, "reference")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_another_variant_has_another_reference(files: DriftFiles, version: Path) -> None:
    files.write(IDENTITY, "reference", reference_to_bytes(reference()))
    assert files.find(dataclasses.replace(IDENTITY, variant="int8"), version) is None


def test_a_reference_beside_the_version_goes_first(files: DriftFiles, version: Path) -> None:
    files.write(IDENTITY, "reference", reference_to_bytes(reference()))
    published = dataclasses.replace(reference(), made=2.0)
    (version / PUBLISHED_REFERENCE).write_bytes(reference_to_bytes(published))
    loaded = files.find(IDENTITY, version)
    assert loaded is not None
    assert loaded.made == 2.0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100], ids=["empty", "no form", "noise"])
def test_a_damaged_one_is_told_and_passed_over(
    files: DriftFiles, version: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (version / PUBLISHED_REFERENCE).write_bytes(content)
    files.write(IDENTITY, "reference", reference_to_bytes(reference()))
    with caplog.at_level(logging.ERROR):
        assert files.find(IDENTITY, version) is not None
    assert PUBLISHED_REFERENCE in caplog.text


def test_a_reference_of_another_model_is_reported_and_ignored(
    files: DriftFiles, version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = reference(ModelIdentity("another", "fp32", 16))
    (version / PUBLISHED_REFERENCE).write_bytes(reference_to_bytes(other))
    with caplog.at_level(logging.ERROR):
        assert files.find(IDENTITY, version) is None
    assert "another" in caplog.text


def test_a_name_is_never_a_path(files: DriftFiles, tmp_path: Path) -> None:
    path = files.path(ModelIdentity("../../x", "a/b", 4), "reference")
    assert path.parent == tmp_path / "drift"


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    (tmp_path / "drift").write_text("a file in its place")
    with pytest.raises(OSError, match="drift"):
        DriftFiles(tmp_path / "drift").write(IDENTITY, "window", b"{}")
