"""What is found in a download, what is refused of it, and what its digest depends on."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from predictor.storage.failure import Escapes, NoModel
from predictor.storage.tree import content_of, in_mirror, size_of, survey, tidy


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("_json", ".json")).write_text(content)
    return folder


def source(folder: Path, content: str = "{}") -> Path:
    return write(folder, config_json=content)


def names(tree: Path, number: int | None = None) -> list[tuple[str, int | None]]:
    return [(version.model, version.number) for version in survey(tree, number)]


def test_a_version_itself(tmp_path: Path) -> None:
    source(tmp_path)
    source(tmp_path / "1")  # a version's own files
    assert names(tmp_path) == [("", None)]
    assert names(tmp_path, 3) == [("", 3)]


def test_a_model_with_numbered_versions(tmp_path: Path) -> None:
    for name in ("1", "20", "03", "x", ".5"):
        source(tmp_path / name)
    assert names(tmp_path) == [("", 1), ("", 20)]


def test_models_of_both_kinds(tmp_path: Path) -> None:
    source(tmp_path / "e5")
    source(tmp_path / "minilm" / "2")
    write(tmp_path / "docs", readme="")
    assert names(tmp_path) == [("e5", None), ("minilm", 2)]


def test_a_mirror_half_way_between_two_layouts_is_seen_as_a_whole(tmp_path: Path) -> None:
    for name in ("1", "minilm/1", "minilm/2", ".fetching-x/tree"):
        source(tmp_path / name)
    assert set(in_mirror(tmp_path)) == {("", 1), ("minilm", 1), ("minilm", 2)}


def test_an_empty_download_is_one_sentence(tmp_path: Path) -> None:
    write(tmp_path / "weights", readme="")
    with pytest.raises(NoModel, match="no model there: neither "):
        tidy(tmp_path, None)


def test_files_that_clients_leave_behind_are_dropped(tmp_path: Path) -> None:
    source(tmp_path)
    write(tmp_path / ".git", config="x")
    write(tmp_path / "1_Pooling" / ".cache", x="x")
    (tmp_path / ".gitattributes").write_text("x")
    (tmp_path / ".link").symlink_to("/")
    (tmp_path / "config.json").chmod(0o4600)
    tidy(tmp_path, None)
    left = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))
    assert left == ["1_Pooling", "config.json"]
    assert (tmp_path / "config.json").stat().st_mode & 0o7777 == 0o644


def link(name: str, to: str) -> Callable[[Path], None]:
    return lambda tree: (tree / name).symlink_to(to)


def pipe(tree: Path) -> None:
    os.mkfifo(tree / "1" / "pipe")


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (link("1/weights", "/etc/passwd"), "1/weights"),
        (link("1/weights", "../2/config.json"), "1/weights"),
        (link("1/weights", "../../../outside"), "1/weights"),
        (link("1/folder", ".."), "1/folder"),
        (link("1/loop", "loop"), "1/loop"),
        (link("1/missing", "nothing"), "1/missing"),
        (link("3", "1"), "3"),
        (pipe, "1/pipe"),
    ],
)
def test_links_out_and_special_files_are_refused(
    tmp_path: Path, change: Callable[[Path], None], name: str
) -> None:
    tree = tmp_path / "tree"
    source(tree / "1")
    source(tree / "2")
    (tmp_path / "outside").write_text("secret")
    change(tree)
    with pytest.raises(Escapes, match=f"^{name!r} leads out of the model's folder"):
        tidy(tree, None)


def test_a_link_in_its_own_version_stays(tmp_path: Path) -> None:
    version = source(tmp_path / "1")
    (version / "weights").symlink_to("config.json")
    before = content_of(version)
    tidy(tmp_path, None)
    assert (version / "weights").is_symlink()
    assert content_of(version) == before


def test_the_digest_of_a_plain_folder_is_that_of_its_files(tmp_path: Path) -> None:
    folder, same = source(tmp_path / "one"), source(tmp_path / "same")
    write(same, **{".content": "not counted"})
    assert content_of(folder) == content_of(same)
    digests = {content_of(folder)}
    (folder / "weights").write_text("a")
    digests.add(content_of(folder))
    (folder / "weights").rename(folder / "other")
    digests.add(content_of(folder))
    (folder / "other").write_text("b")
    digests.add(content_of(folder))
    (folder / "link").symlink_to("other")
    digests.add(content_of(folder))
    assert len(digests) == 5


def test_the_digest_of_a_bundle_is_that_of_its_manifest(tmp_path: Path) -> None:
    bundle = write(tmp_path / "one", bundle_json="{}", model="a")
    other = write(tmp_path / "other", bundle_json="{}", model="b")
    changed = write(tmp_path / "changed", bundle_json="{} ", model="a")
    assert content_of(bundle) == content_of(other) != content_of(changed)


def test_sizes_add_up(tmp_path: Path) -> None:
    write(tmp_path / "a", x="12345")
    write(tmp_path / "a" / "b", y="123")
    (tmp_path / "a" / "link").symlink_to("x")
    assert size_of(tmp_path) == 8 + len("x")
    assert size_of(tmp_path / "missing") == 0
