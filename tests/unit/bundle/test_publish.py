"""A version appears whole or not at all, and no staging folder stays."""

import subprocess
import sys
import textwrap
from pathlib import Path

import onnx
import pytest

from predictor.bundle.manifest import TOKENIZER, Bundle, Variant, is_bundle, read_bundle
from predictor.bundle.proof import Proof
from predictor.bundle.publish import (
    STAGING_PREFIX,
    next_version,
    publish,
    remove_half_made,
    staging_folder,
)
from predictor.errors import BadModel
from predictor.types import Pooling


def bundle(digest: str = "0") -> Bundle:
    return Bundle(
        source_digest=digest,
        family="bert",
        max_length=8,
        dimensions=4,
        pooling=Pooling.MEAN,
        normalize=True,
        inputs="packed",
        variants={
            "fp32": Variant(graph="model.onnx", proof=Proof(reference="none", tolerance=1.0))
        },
    )


def published(model: Path, version: str, content: str = "graph", digest: str = "0") -> Bundle:
    with staging_folder(model, model, "hint") as folder:
        graph = onnx.ModelProto(producer_name=content)
        (folder / "model.onnx").write_bytes(graph.SerializeToString())
        (folder / TOKENIZER).write_text("{}")
        return publish(bundle(digest), folder, model / version)


def test_a_version_has_its_manifest_the_moment_it_is_there(tmp_path: Path) -> None:
    model = tmp_path / "deep" / "model"
    written = published(model, "1")
    assert read_bundle(model / "1") == written
    assert set(written.files) == {"model.onnx", TOKENIZER}
    assert [path.name for path in model.iterdir()] == ["1"]
    assert (model / "1").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [KeyboardInterrupt, BadModel("no"), ValueError, SystemExit])
def test_the_staging_folder_is_removed_whatever_happens(
    tmp_path: Path, error: type[BaseException] | BaseException
) -> None:
    kind = error if isinstance(error, type) else type(error)

    def fail(folder: Path) -> None:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").write_text("half")
        assert folder.name.startswith(STAGING_PREFIX)
        raise error

    with pytest.raises(kind), staging_folder(tmp_path, tmp_path, "hint") as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_with_the_hint(tmp_path: Path) -> None:
    with (
        pytest.raises(BadModel, match=r"^shown: cannot be written \(No space left\); hint$"),
        staging_folder(tmp_path, Path("shown"), "hint"),
    ):
        raise OSError(28, "No space left")


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadModel, match="cannot be written"),
        staging_folder(tmp_path / "file" / "model", tmp_path, "hint"),
    ):
        pass


def test_publishing_the_same_content_again_changes_nothing(tmp_path: Path) -> None:
    first = published(tmp_path, "1")
    stamp = (tmp_path / "1" / "bundle.json").stat().st_mtime_ns
    assert published(tmp_path, "1").revision == first.revision
    assert (tmp_path / "1" / "bundle.json").stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(("content", "digest"), [("other", "0"), ("graph", "1")])
def test_another_content_does_not_replace_a_version(
    tmp_path: Path, content: str, digest: str
) -> None:
    first = published(tmp_path, "1")
    with pytest.raises(BadModel, match="1: exists already; versions are never replaced"):
        published(tmp_path, "1", content, digest)
    assert read_bundle(tmp_path / "1") == first
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "notes").write_text("mine")
    with pytest.raises(BadModel, match="exists already"):
        published(tmp_path, "1")
    assert not is_bundle(tmp_path / "1")
    assert (tmp_path / "1" / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], 1),
        (["1"], 2),
        (["2", "10", "9"], 11),
        (["0", "01", "-3", "1.5", "v7", "notes", f"{STAGING_PREFIX}99"], 1),
        (["1234567890"], 1),
        (["3", f"{STAGING_PREFIX}x"], 4),
    ],
)
def test_the_next_version_is_one_more_than_the_highest_number(
    tmp_path: Path, names: list[str], expected: int
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == expected


def test_a_model_that_is_not_there_begins_with_1(tmp_path: Path) -> None:
    assert next_version(tmp_path / "nowhere") == 1


# Half-made folders


def half_made(parent: Path) -> Path:
    folder = parent / f"{STAGING_PREFIX}half"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "file").write_text("half")
    return folder


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    folder = half_made(tmp_path)
    with staging_folder(tmp_path, tmp_path, "hint") as other:
        assert not folder.exists()
        assert other.exists()


def test_what_a_living_process_writes_stays(tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from predictor.bundle.publish import staging_folder
        with staging_folder(Path({str(tmp_path)!r}), Path(), "") as folder:
            print(folder, flush=True)
            input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        remove_half_made(tmp_path)
        assert folder.is_dir()
        process.kill()
        process.wait()
        assert folder.is_dir()
        remove_half_made(tmp_path)
        assert not folder.exists()


def test_links_and_files_of_that_name_stay(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / f"{STAGING_PREFIX}link").symlink_to("other")
    (tmp_path / f"{STAGING_PREFIX}file").write_text("mine")
    remove_half_made(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
