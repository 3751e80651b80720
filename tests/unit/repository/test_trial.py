"""A version is tried in a process of its own, with limits, and what passed is remembered."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from predictor.bundle.manifest import CANONICAL, MANIFEST, TOKENIZER, sha256
from predictor.bundle.source import read_source
from predictor.errors import (
    BadModel,
    BadSetting,
    IncompleteModel,
    NoMemory,
    NotInTime,
    PredictorError,
    WrongVectors,
)
from predictor.export.convert import convert_cached
from predictor.repository import memory
from predictor.repository.memory import MIB
from predictor.repository.trial import PROVEN, TrialReport, VersionTrial, report_of
from predictor.settings import ModelSettings, RepositorySettings, Settings
from tests.reference.families.folders import assemble

LIMIT = 700 * MIB


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("trial")
    return convert_cached(read_source(assemble("bert", work / "source")), work, threads=1)


@pytest.fixture
def folder(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "1"))


def trial_of(
    tmp_path: Path, limit: int | None = None, timeout_s: float = 600.0, **model: object
) -> VersionTrial:
    settings = Settings(
        model=ModelSettings(cache_dir=str(tmp_path / "cache"), threads=1, **model),  # type: ignore[arg-type]
        repository=RepositorySettings(trial_timeout_s=timeout_s),
    )
    return VersionTrial(settings, limit)


def seal(folder: Path) -> None:
    """Write the digests of the files as they are now."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: sha256(folder / name) for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_passed_is_remembered_by_its_content(folder: Path, tmp_path: Path) -> None:
    trial = trial_of(tmp_path)
    assert not trial.is_proven(folder)
    trial.run(folder, "m", "1")
    assert trial.is_proven(folder)
    assert trial.is_proven(Path(shutil.copytree(folder, tmp_path / "elsewhere")))
    assert not trial_of(tmp_path, variant="fp32").is_proven(folder)
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text() + " ")
    assert not trial.is_proven(folder)


def test_a_directory_is_remembered_by_all_its_files(tmp_path: Path) -> None:
    source = assemble("bert", tmp_path / "source")
    trial = trial_of(tmp_path)
    trial.run(source, "m", "1")
    assert trial.is_proven(source)
    with (source / "config.json").open("a") as file:
        file.write(" ")
    assert not trial.is_proven(source)


def test_a_folder_that_is_not_there_is_not_proven(tmp_path: Path) -> None:
    assert not trial_of(tmp_path).is_proven(tmp_path / "missing")


def _damage_vectors(folder: Path) -> None:
    shutil.copy(folder / TOKENIZER, folder / CANONICAL)
    seal(folder)


def _lose_a_file(folder: Path) -> None:
    (folder / TOKENIZER).unlink()


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (_lose_a_file, IncompleteModel, "tokenizer.json: missing"),
        (_damage_vectors, BadModel, "canonical.npz: cannot be read"),
    ],
)
def test_the_process_reports_what_loading_raises(
    folder: Path,
    tmp_path: Path,
    change: Callable[[Path], None],
    error: type[PredictorError],
    sentence: str,
) -> None:
    change(folder)
    trial = trial_of(tmp_path)
    with pytest.raises(error, match=sentence) as raised:
        trial.run(folder, "m", "1")
    assert type(raised.value) is error
    assert not list((tmp_path / "cache").glob(f"{PROVEN}/*"))


def test_a_setting_that_does_not_fit_is_reported(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="pooling is part of its graph"):
        trial_of(tmp_path, pooling="cls").run(folder, "m", "1")


def test_a_version_that_takes_the_memory_is_ended(folder: Path, tmp_path: Path) -> None:
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 10}
    path = folder / TOKENIZER
    tokenizer = json.loads(path.read_text())
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [step] * 12}
    path.write_text(json.dumps(tokenizer))
    seal(folder)
    with pytest.raises(NoMemory):
        trial_of(tmp_path, memory.resident_bytes() + LIMIT).run(folder, "m", "1")


def test_a_process_that_may_have_no_memory_is_ended(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NoMemory):
        trial_of(tmp_path, memory.resident_bytes() // 2).run(folder, "m", "1")


def test_a_version_that_takes_too_long_is_ended(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(NotInTime, match=r"not loaded within 0\.05 s"):
        trial_of(tmp_path, timeout_s=0.05).run(folder, "m", "1")


class Panic(BaseException):
    """As of a library in Rust."""


@pytest.mark.parametrize(
    ("error", "report"),
    [
        (WrongVectors("a"), TrialReport("WrongVectors", "a")),
        (MemoryError(), TrialReport("NoMemory", "not enough memory to load it")),
        (Panic("secret"), TrialReport("BadModel", "loading it raised Panic")),
    ],
)
def test_whatever_is_raised_has_a_report(error: BaseException, report: TrialReport) -> None:
    def attempt() -> None:
        raise error

    assert report_of(attempt) == report
    assert report_of(lambda: None) == TrialReport()
