"""`predictor export` as a user runs it: versions, revisions, references, flags, several at once."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from predictor.bundle.canonical_vectors import read_canonical
from predictor.bundle.manifest import Bundle, is_bundle, read_bundle
from predictor.bundle.version_folder import VERSION_NUMBER
from tests.command import run_command
from tests.deadlines import DEADLINE_S
from tests.reference.families.folders import MODELS, REFERENCE, assemble
from tests.reference.families.texts import family_texts

COMMAND = ("-m", "predictor")
TIMEOUT_S = DEADLINE_S
DIMENSIONS = 32


@dataclass(frozen=True)
class Done:
    """How an export ended."""

    code: int
    out: str
    err: str

    def refusal(self, code: int = 1) -> str:
        """The one line that says why nothing was exported."""
        assert "Traceback" not in self.err, self.err
        assert (self.code, self.out) == (code, ""), self.err
        lines = self.err.splitlines()
        assert [line.startswith("predictor: ") for line in lines].count(True) == 1, self.err
        assert lines[-1].startswith("predictor: "), self.err
        return lines[-1].removeprefix("predictor: ")


def command(*arguments: object, through: Sequence[str] = COMMAND) -> list[str]:
    return [sys.executable, *through, "export", *map(str, arguments)]


def export(
    *arguments: object,
    through: Sequence[str] = COMMAND,
    torch: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run the command to its end; the original model is compared with only if `torch`."""
    flags = (*arguments, *(() if torch else ("--no-torch",)))
    if through == COMMAND:
        ended = run_command("export", *flags, environment=environment)
        return Done(ended.code, ended.out, ended.err)
    done = subprocess.run(
        command(*flags, through=through),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=os.environ | dict(environment or {}),
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def left_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too; nothing if it is not there."""
    return sorted(os.listdir(folder)) if folder.is_dir() else []


def exported_into(folder: Path, *arguments: object) -> Bundle:
    """Export and read the only version."""
    done = export(*arguments, "-o", folder)
    assert done.code == 0, done.err
    assert left_in(folder) == ["1"]
    return read_bundle(folder / "1")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of a BERT with three small layers."""
    return assemble("bert", tmp_path_factory.mktemp("export") / "tiny")


@pytest.fixture(scope="module")
def model(tiny: Path) -> Path:
    """A model folder with version 1 of it; not to be changed."""
    folder = tiny.parent / "model"
    exported_into(folder, tiny)
    return folder


@pytest.fixture
def model_copy(model: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(model, tmp_path / "own")


# What comes out


def test_an_export_is_a_whole_bundle_that_says_where_it_is_from(model: Path) -> None:
    bundle = read_bundle(model / "1")
    assert (bundle.source, bundle.source_revision, bundle.family) == ("tiny", None, "bert")
    assert set(bundle.variants) == {"fp32"}
    proof = bundle.variants["fp32"].proof
    assert (proof.reference, proof.texts) == ("self", 320)
    assert left_in(model / "1") == sorted([*bundle.files, "bundle.json"])
    assert len(read_canonical(model / "1")[0]) >= 30
    assert (model / "1").stat().st_mode & 0o777 == 0o755


def test_the_result_is_on_stdout_and_progress_on_stderr(tiny: Path, tmp_path: Path) -> None:
    loud = export(tiny, "-o", tmp_path / "loud")
    assert "building the float32 graph: done in " in loud.err
    assert "predictor:" not in loud.err
    quiet = export(tiny, "-o", tmp_path / "quiet", "--quiet")
    assert (quiet.code, quiet.err) == (0, "")
    revision = read_bundle(tmp_path / "quiet" / "1").revision
    assert revision in quiet.out
    assert revision in loud.out


def test_the_licence_of_the_readme_is_kept(tiny: Path, tmp_path: Path) -> None:
    source = shutil.copytree(tiny, tmp_path / "source")
    (source / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# A model\n")
    assert exported_into(tmp_path / "out", source).licence == "apache-2.0"


# Versions and revisions


def test_the_next_version_is_one_more_than_the_highest(model_copy: Path, tiny: Path) -> None:
    (model_copy / "7").mkdir()
    (model_copy / "notes").mkdir()
    assert export(tiny, "-o", model_copy).code == 0
    assert left_in(model_copy) == ["1", "7", "8", "notes"]
    assert is_bundle(model_copy / "8")


def test_a_version_can_be_named_and_is_never_replaced(model_copy: Path, tiny: Path) -> None:
    assert export(tiny, "-o", model_copy, "--version", 3).code == 0
    before = {path: path.stat().st_mtime_ns for path in model_copy.rglob("*")}
    for number in (1, 3):
        line = export(tiny, "-o", model_copy, "--version", number, "--pooling", "cls").refusal(2)
        assert line == (
            f"--version {number}: {model_copy / str(number)} exists; versions are never replaced"
        )
    assert {path: path.stat().st_mtime_ns for path in model_copy.rglob("*")} == before


def test_the_same_source_elsewhere_has_the_same_revision(
    model: Path, tiny: Path, tmp_path: Path
) -> None:
    again = exported_into(tmp_path / "out", shutil.copytree(tiny, tmp_path / "another-name"))
    assert again.revision == read_bundle(model / "1").revision
    assert again.source == "another-name"


def test_another_pooling_is_another_revision(model: Path, tiny: Path, tmp_path: Path) -> None:
    cls = exported_into(tmp_path / "out", tiny, "--pooling", "cls")
    assert cls.pooling == "cls"
    first = read_bundle(model / "1")
    assert first.pooling == "mean"
    assert cls.revision != first.revision


class Watch(threading.Thread):
    """Lists a model's folder as a poller does, and reads each version when it is first seen."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.bundles: dict[str, Bundle] = {}
        self.broken: list[str] = []
        self.looks = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        while not self.stopped.is_set():
            self.looks += 1
            for name in left_in(self.folder):
                if VERSION_NUMBER.fullmatch(name) and name not in self.bundles:
                    try:
                        self.bundles[name] = read_bundle(self.folder / name)
                    except Exception as error:
                        self.broken.append(f"{name}: {error!r}")


def test_a_poller_sees_whole_versions_only_and_exports_at_once_do_not_meet(
    tiny: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    watch = Watch(folder)
    watch.start()
    runs = [
        subprocess.Popen(
            command(tiny, "-o", folder, "--no-torch", "--pooling", pooling),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for pooling in ("cls", "mean", "max")
    ]
    ends = [(run.communicate(timeout=TIMEOUT_S), run.returncode) for run in runs]
    watch.stopped.set()
    watch.join()
    versions = left_in(folder)
    done = [Done(code, out, err) for (out, err), code in ends]
    for attempt in done:
        if attempt.code:
            assert "exists already; versions are never replaced" in attempt.refusal()
    assert [attempt.code for attempt in done].count(0) == len(versions) >= 1
    assert len({read_bundle(folder / version).pooling for version in versions}) == len(versions)
    assert watch.broken == []
    assert watch.looks > 100


# Vectors made elsewhere


def test_vectors_made_elsewhere_prove_the_graph(tiny: Path, tmp_path: Path) -> None:
    with np.load(MODELS / "bert" / REFERENCE) as kept:
        vectors = kept["vectors"]
    np.savez(tmp_path / "right.npz", texts=np.array(family_texts()), vectors=vectors)
    bundle = exported_into(tmp_path / "out", tiny, "--reference", tmp_path / "right.npz")
    proof = bundle.variants["fp32"].proof
    assert (proof.reference, proof.texts) == ("file", len(vectors))
    assert 0.99999 <= proof.min_cosine <= proof.p1_cosine <= proof.mean_cosine


def test_other_vectors_are_refused_with_the_figures(tiny: Path, tmp_path: Path) -> None:
    vectors = np.eye(2, DIMENSIONS, dtype=np.float32)
    np.savez(tmp_path / "wrong.npz", texts=["one", "two"], vectors=vectors)
    done = export(tiny, "-o", tmp_path / "out", "--reference", tmp_path / "wrong.npz")
    line = r"out of tolerance against file: min_cosine -?0\.\d+, limit 0\.99999"
    assert re.fullmatch(line, done.refusal())
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["vectors.npy", "empty.npz"])
def test_a_reference_that_cannot_be_read_is_one_line(tiny: Path, tmp_path: Path, name: str) -> None:
    """More of them in tests/unit/export/test_job.py."""
    np.save(tmp_path / "vectors.npy", np.eye(2, DIMENSIONS, dtype=np.float32))
    (tmp_path / "empty.npz").write_bytes(b"")
    done = export(tiny, "-o", tmp_path / "out", "--reference", tmp_path / name)
    assert f"{name}: cannot be read as .npz with `texts` and `vectors`: " in done.refusal()
    assert left_in(tmp_path / "out") == []


# Flags


def test_matryoshka_dimensions_are_in_the_bundle_sorted_and_once(
    tiny: Path, tmp_path: Path
) -> None:
    bundle = exported_into(tmp_path / "out", tiny, "--matryoshka", "16, 8,16")
    assert bundle.matryoshka == (8, 16)
    content = json.loads((tmp_path / "out" / "1" / "bundle.json").read_bytes())
    assert content["matryoshka"] == [8, 16]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--variants", "int4"], "--variants int4: not one of fp32, int8, int8-weights, fp16"),
        (["--variants", "fp32,bf16"], "--variants bf16: ONNX Runtime's packed attention takes"),
        (["--matryoshka", "16,many"], "--matryoshka 16,many: not a list of numbers"),
        (["--matryoshka", "16,0"], "--matryoshka 16,0: dimensions must be at least 1"),
        (["--matryoshka", "16,64"], "--matryoshka 64: the model has 32 dimensions"),
        (["--version", "0"], "--version 0: must be at least 1"),
        (["--threads", "-1"], "--threads -1: must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_an_invalid_flag_is_refused_in_one_line(
    tiny: Path, tmp_path: Path, flags: list[str], sentence: str
) -> None:
    line = export(tiny, "-o", tmp_path / "out", *flags).refusal(2)
    assert line.startswith(sentence)
    assert left_in(tmp_path / "out") == []
