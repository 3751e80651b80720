"""A version appears whole or not at all, and nothing that was written aside stays."""

from pathlib import Path

import pytest

from predictor.engine.bundle import Bundle, Proof, Variant, is_bundle, read_bundle
from predictor.errors import BadModel
from predictor.export.publish import ASIDE, aside, next_version, publish
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
        variants={"fp32": Variant(graph="g", proof=Proof(reference="none", tolerance=1.0))},
    )


def published(model: Path, version: str, content: str = "graph", digest: str = "0") -> Bundle:
    with aside(model, model, "mend") as folder:
        (folder / "g").write_text(content)
        return publish(bundle(digest), folder, model / version)


def test_a_version_has_its_manifest_the_moment_it_is_there(tmp_path: Path) -> None:
    model = tmp_path / "deep" / "model"
    written = published(model, "1")
    assert read_bundle(model / "1") == written
    assert set(written.files) == {"g"}
    assert [path.name for path in model.iterdir()] == ["1"]
    assert (model / "1").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [KeyboardInterrupt, BadModel("no"), ValueError, SystemExit])
def test_whatever_happens_nothing_stays_aside(
    tmp_path: Path, error: type[BaseException] | BaseException
) -> None:
    kind = error if isinstance(error, type) else type(error)

    def fail(folder: Path) -> None:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").write_text("half")
        assert folder.name.startswith(ASIDE)
        raise error

    with pytest.raises(kind), aside(tmp_path, tmp_path, "mend") as folder:
        fail(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_a_sentence_with_the_mend(tmp_path: Path) -> None:
    with (
        pytest.raises(BadModel, match=r"^shown: cannot be written \(No space left\); mend$"),
        aside(tmp_path, Path("shown"), "mend"),
    ):
        raise OSError(28, "No space left")


def test_a_place_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadModel, match="cannot be written"),
        aside(tmp_path / "file" / "model", tmp_path, "mend"),
    ):
        pass


def test_who_comes_second_with_the_same_content_is_content(tmp_path: Path) -> None:
    first = published(tmp_path, "1")
    stamp = (tmp_path / "1" / "bundle.json").stat().st_mtime_ns
    assert published(tmp_path, "1").revision == first.revision
    assert (tmp_path / "1" / "bundle.json").stat().st_mtime_ns == stamp
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(("content", "digest"), [("other", "0"), ("graph", "1")])
def test_who_comes_second_with_another_content_replaces_nothing(
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
        (["0", "01", "-3", "1.5", "v7", "notes", f"{ASIDE}99"], 1),
        (["1234567890"], 1),
        (["3", f"{ASIDE}x"], 4),
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
