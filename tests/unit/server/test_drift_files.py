"""References on disk: found again, never taken for another model's, never half written."""

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pytest

from predictor.drift import Reference, Subject, learn, reference_to_bytes
from predictor.drift.window import Window
from predictor.server.drift_files import BESIDE, DriftFiles

SUBJECT = Subject("1234abcd", "fp32", 16)


def reference(subject: Subject = SUBJECT, seed: int = 0) -> Reference:
    generator = np.random.default_rng(seed)
    window = Window(subject, generator)
    rows = generator.standard_normal((64, subject.dimensions)).astype(np.float32)
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


def test_what_was_written_is_found(files: DriftFiles, version: Path) -> None:
    assert files.find(SUBJECT, version) is None
    files.write(SUBJECT, "reference", reference_to_bytes(reference()))
    found = files.find(SUBJECT, version)
    assert found is not None
    assert found.sketch.rows == 64
    path = files.path(SUBJECT, "reference")
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_another_variant_has_another_reference(files: DriftFiles, version: Path) -> None:
    files.write(SUBJECT, "reference", reference_to_bytes(reference()))
    assert files.find(dataclasses.replace(SUBJECT, variant="int8"), version) is None


def test_one_beside_the_version_goes_first(files: DriftFiles, version: Path) -> None:
    files.write(SUBJECT, "reference", reference_to_bytes(reference()))
    beside = dataclasses.replace(reference(), made=2.0)
    (version / BESIDE).write_bytes(reference_to_bytes(beside))
    found = files.find(SUBJECT, version)
    assert found is not None
    assert found.made == 2.0


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff" * 100], ids=["empty", "no form", "noise"])
def test_a_damaged_one_is_told_and_passed_over(
    files: DriftFiles, version: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (version / BESIDE).write_bytes(content)
    files.write(SUBJECT, "reference", reference_to_bytes(reference()))
    with caplog.at_level(logging.ERROR):
        assert files.find(SUBJECT, version) is not None
    assert BESIDE in caplog.text


def test_one_of_another_model_is_told_and_passed_over(
    files: DriftFiles, version: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = reference(Subject("another", "fp32", 16))
    (version / BESIDE).write_bytes(reference_to_bytes(other))
    with caplog.at_level(logging.ERROR):
        assert files.find(SUBJECT, version) is None
    assert "another" in caplog.text


def test_a_name_is_never_a_path(files: DriftFiles, tmp_path: Path) -> None:
    path = files.path(Subject("../../x", "a/b", 4), "reference")
    assert path.parent == tmp_path / "drift"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "drift").write_text("a file in its place")
    with pytest.raises(OSError, match="drift"):
        DriftFiles(tmp_path / "drift").write(SUBJECT, "window", b"{}")
