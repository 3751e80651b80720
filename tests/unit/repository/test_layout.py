"""What a look at a directory sees: models, versions, and what is neither."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from predictor.repository import layout
from predictor.repository.layout import Layout, VersionFolder, scan
from tests.unit.repository.doubles import bundle as a_bundle

NOBODY_UID = 65534
OUT = "a link that leads out of the repository"


def version(folder: Path, manifest: str = '{"dimensions": 8}') -> Path:
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text(manifest)
    (folder / "model.onnx").write_bytes(b"graph")
    return folder


def version_folder(root: Path, model: str = "m", number: int = 1) -> VersionFolder:
    return scan(root, "only").models[model][number]


def shape(layout: Layout) -> dict[str, list[int]]:
    return {name: sorted(versions) for name, versions in layout.models.items()}


@contextmanager
def as_user_nobody() -> Iterator[None]:
    """Without root's right to read everything."""
    if os.geteuid():
        yield
        return
    try:
        os.seteuid(NOBODY_UID)
    except OSError:
        pytest.skip("root of a namespace without other users: nothing is unreadable here")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    made = tmp_path / "root"
    made.mkdir()
    yield made
    for folder, _, _ in os.walk(made):
        os.chmod(folder, 0o755)


@pytest.fixture
def open_root(root: Path) -> Path:
    """A root that another user may read; the folders that pytest makes are ours alone."""
    for parent in (root, *root.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(0o755)
    return root


# What is there


def test_a_folder_that_is_itself_a_version_is_served(root: Path) -> None:
    (root / "bundle.json").write_text("{}")
    assert shape(scan(root, "only")) == {"only": [1]}


def test_a_version_folder_with_a_number_keeps_its_number(root: Path) -> None:
    assert shape(scan(version(root / "7"), "only")) == {"only": [7]}


def test_numbered_versions_of_one_model(root: Path) -> None:
    for number in (1, 2, 10):
        version(root / str(number))
    layout = scan(root, "only")
    assert shape(layout) == {"only": [1, 2, 10]}
    assert layout.models["only"][10].path == root / "10"


def test_a_repository_of_models(root: Path) -> None:
    version(root / "a" / "1")
    version(root / "a" / "3")
    version(root / "b")
    (root / "c").mkdir()
    (root / "c" / "config.json").write_text("{}")
    assert shape(scan(root, "only")) == {"a": [1, 3], "b": [1], "c": [1]}


def test_an_empty_directory(root: Path) -> None:
    assert scan(root, "only") == Layout()


def test_a_directory_that_is_not_there(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(root / "gone", "only")


def test_files_that_a_volume_leaves_are_not_models(root: Path) -> None:
    for name in ("lost+found", "__pycache__", ".git", ".writing-x", "..data"):
        version(root / name)
    (root / "README.md").write_text("models")
    version(root / "m" / "1")
    version(root / "m" / ".writing-abc")
    assert scan(root, "only") == Layout({"m": {1: version_folder(root)}})


# What is no version


@pytest.mark.parametrize("name", ["abc", "01", "0", "1.5", "-1", "1 ", "v1", "1" * 10, "\u0661"])
def test_a_folder_whose_name_is_not_a_version_number_is_refused(root: Path, name: str) -> None:
    version(root / "m" / "1")
    version(root / "m" / name)
    layout = scan(root, "only")
    assert shape(layout) == {"m": [1]}
    assert layout.strays == {
        ("m", name): "not a version number: 1, 2, 3, ... without leading zeros"
    }


def test_a_folder_without_a_model(root: Path) -> None:
    version(root / "m" / "abc")
    (root / "empty").mkdir()
    layout = scan(root, "only")
    assert layout.models == {}
    assert set(layout.strays) == {("m", "abc"), ("m", ""), ("empty", "")}
    assert layout.strays["empty", ""] == "no numbered version, no bundle.json and no config.json"


@pytest.mark.parametrize("name", ["a b", "a:1", "-a", "ä", "_a", "a\nb"])
def test_names_that_no_request_can_have(root: Path, name: str) -> None:
    version(root / name / "1")
    version(root / "m" / "1")
    layout = scan(root, "only")
    assert shape(layout) == {"m": [1]}
    assert set(layout.strays) == {(name, "")}


def test_a_name_that_is_no_text(root: Path) -> None:
    os.mkdir(os.fsencode(root) + b"/m\xff\xfe")
    layout = scan(root, "only")
    assert not layout.models
    ((name, _),) = layout.strays
    assert name.encode()  # can be written as JSON


def test_a_name_that_is_too_long_is_not_cut_to_another_models(root: Path) -> None:
    version(root / ("m" * 128) / "1")
    version(root / ("m" * 128 + "x") / "2")
    layout = scan(root, "only")
    assert shape(layout) == {"m" * 128: [1]}
    assert len(layout.strays) == 1


# Links


def test_links_within_the_repository_are_followed(root: Path) -> None:
    version(root / "blobs" / "1")
    (root / "m").mkdir()
    (root / "m" / "2").symlink_to("../blobs/1")
    (root / "alias").symlink_to("m")
    layout = scan(root, "only")
    assert shape(layout) == {"alias": [2], "blobs": [1], "m": [2]}
    assert not any(scanned.problem for m in layout.models.values() for scanned in m.values())


def test_a_model_that_is_a_link_out(root: Path, tmp_path: Path) -> None:
    version(tmp_path / "outside" / "1")
    (root / "m").symlink_to(tmp_path / "outside")
    layout = scan(root, "only")
    assert layout == Layout({}, {("m", ""): OUT})


def test_a_version_that_is_a_link_out(root: Path, tmp_path: Path) -> None:
    (root / "m").mkdir()
    (root / "m" / "1").symlink_to(version(tmp_path / "outside"))
    scanned = version_folder(root)
    assert scanned.problem.endswith(OUT)
    assert (scanned.stamp, scanned.dimensions) == ((), None)


@pytest.mark.parametrize("place", ["model.onnx", "bundle.json", "1_Pooling/config.json"])
def test_a_file_that_is_a_link_out(root: Path, tmp_path: Path, place: str) -> None:
    folder = version(root / "m" / "1")
    outside = tmp_path / "secret"
    outside.write_text('{"dimensions": 666}')
    link = folder / place
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    scanned = version_folder(root)
    assert scanned.problem.endswith(f"{place}: {OUT}")
    assert scanned.dimensions is None


def test_a_folder_in_a_version_that_is_a_link_out(root: Path, tmp_path: Path) -> None:
    folder = version(root / "m" / "1")
    (folder / "onnx").symlink_to(tmp_path)
    assert version_folder(root).problem.endswith(f"onnx: {OUT}")


def test_links_that_lead_in_a_circle(root: Path) -> None:
    folder = version(root / "m" / "1")
    (folder / "up").symlink_to("..")
    assert version_folder(root).problem == ""
    (folder / "self").symlink_to("self")
    version(root / "other" / "1")
    layout = scan(root, "only")
    assert shape(layout) == {"m": [1], "other": [1]}
    assert layout.models["m"][1].problem
    assert not layout.models["other"][1].problem


def test_links_to_nothing(root: Path) -> None:
    folder = version(root / "m" / "1")
    (folder / "gone.txt").symlink_to("nowhere")
    (root / "m" / "2").symlink_to("nowhere")
    (root / "n").symlink_to("nowhere")
    assert shape(scan(root, "only")) == {"m": [1]}
    assert "cannot be read" in version_folder(root).problem


def test_the_one_folder_that_was_named_may_be_made_of_links(root: Path, tmp_path: Path) -> None:
    """A hub's snapshot, or a volume of Kubernetes: its files are elsewhere."""
    real = version(tmp_path / "blobs")
    for file in real.iterdir():
        (root / file.name).symlink_to(file)
    assert version_folder(root, "only").problem == ""
    assert version_folder(root, "only").dimensions == 8


# Files


def test_the_stamp_changes_with_any_file(root: Path) -> None:
    folder = version(root / "m" / "1")
    stamps = [version_folder(root).stamp]

    def changed() -> bool:
        stamps.append(version_folder(root).stamp)
        return stamps[-1] not in stamps[:-1]

    assert not changed()
    (folder / "new").write_text("")
    assert changed()
    (folder / "model.onnx").write_bytes(b"longer than before")
    assert changed()
    kept = (folder / "model.onnx").stat()
    (folder / "other").write_bytes(b"x" * kept.st_size)
    os.utime(folder / "other", ns=(kept.st_atime_ns, kept.st_mtime_ns))
    (folder / "other").rename(folder / "model.onnx")  # of the same size and time, another file
    assert changed()
    (folder / "onnx").mkdir()
    (folder / "onnx" / "deep.bin").write_text("1")
    assert changed()
    (folder / "new").unlink()
    assert changed()


@pytest.mark.parametrize("jump_s", [-3600 * 24 * 365, 3600 * 24 * 365])
def test_the_time_of_a_file_may_be_any(root: Path, jump_s: int) -> None:
    """Clocks jump, and volumes have clocks of their own: a time is other or the same, no more."""
    folder = version(root / "m" / "1")
    before, now = version_folder(root).stamp, (folder / "model.onnx").stat().st_mtime
    os.utime(folder / "model.onnx", (now, now + jump_s))
    assert version_folder(root).stamp != before
    assert version_folder(root).stamp == version_folder(root).stamp


@pytest.mark.parametrize(
    "manifest",
    [
        *("", "{", "null", "[]", '{"dimensions": "8"}', '{"dimensions": 8.5}', "{}"),
        *('{"dimensions": 8', "\xff", '{"a":' + "[" * 100_000),
    ],
)
def test_dimensions_of_a_manifest_that_is_none(root: Path, manifest: str) -> None:
    version(root / "m" / "1").joinpath("bundle.json").write_bytes(manifest.encode("latin-1"))
    assert version_folder(root).dimensions is None


def test_dimensions_of_a_manifest(root: Path) -> None:
    import msgspec

    version(root / "m" / "1", msgspec.json.encode(a_bundle(12)).decode())
    assert version_folder(root).dimensions == 12


def test_too_many_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_FILES", 3)
    folder = version(root / "m" / "1")
    (folder / "3").touch()
    assert version_folder(root).problem == ""
    (folder / "4").touch()
    assert version_folder(root).problem.endswith("more than 3 files are no model")


def test_a_look_does_not_go_through_all_of_too_many_files(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MAX_FILES", 3)
    folder = version(root / "m" / "1")
    for number in range(50):
        (folder / "deep" / str(number)).mkdir(parents=True)
        (folder / "deep" / str(number) / "file").touch()
    looks: list[Path] = []
    stat = Path.stat

    def spy(self: Path, **options: bool) -> os.stat_result:
        looks.append(self)
        return stat(self, **options)

    monkeypatch.setattr(Path, "stat", spy)
    assert version_folder(root).problem
    assert len(looks) < 50


# What may not be read


@pytest.mark.parametrize("place", ["m", "m/1"])
@pytest.mark.parametrize("mode", [0o000, 0o444], ids=["closed", "names-only"])
def test_a_folder_that_may_not_be_read_hides_no_other(
    open_root: Path, place: str, mode: int
) -> None:
    version(open_root / "m" / "1")
    version(open_root / "other" / "1")
    (open_root / place).chmod(mode)
    with as_user_nobody():
        layout = scan(open_root, "only")
    assert 1 in layout.models["other"]
    assert not layout.models["other"][1].problem
    scanned = layout.models.get("m", {}).get(1)
    why = scanned.problem if scanned else layout.strays["m", ""]
    assert "Permission denied" in why


def test_a_file_that_may_not_be_read_is_seen(open_root: Path) -> None:
    folder = version(open_root / "m" / "1")
    (folder / "bundle.json").chmod(0)
    with as_user_nobody():
        scanned = version_folder(open_root)
    assert (scanned.problem, scanned.dimensions) == ("", None)
    assert len(scanned.stamp) == 2


def test_a_root_that_may_not_be_read(open_root: Path) -> None:
    version(open_root / "m" / "1")
    open_root.chmod(0)
    with as_user_nobody(), pytest.raises(PermissionError):
        scan(open_root, "only")
