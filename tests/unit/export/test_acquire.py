"""A directory, a zip, a name: what becomes a folder with one model, and what is a sentence."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from predictor.errors import BadModel, BadSetting
from predictor.export.acquire import acquire


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    """A zip with a model in it, as far as one can tell from outside."""
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.safetensors", bytes(range(256)) * 400)
    return path


def test_a_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with acquire(str(tmp_path)) as acquired:
        assert acquired.folder == tmp_path
        assert acquired.name == tmp_path.name
        assert acquired.revision is None


def test_the_only_model_in_a_directory_is_found(tmp_path: Path) -> None:
    for folder, file in (("model", "modules.json"), ("notes", "readme.md")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("[]")
    with acquire(str(tmp_path)) as acquired:
        assert acquired.folder == tmp_path / "model"


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, BadModel])
def test_an_unpacked_zip_is_removed_at_the_end(
    packed: Path, error: type[BaseException] | None
) -> None:
    folders = []
    try:
        with acquire(str(packed)) as acquired:
            folders.append(acquired.folder)
            assert (acquired.folder / "config.json").read_text() == "{}"
            assert acquired.name == "model.zip"
            if error is not None:
                raise error
    except (KeyboardInterrupt, BadModel):
        assert error is not None
    assert not folders[0].exists()


def test_names_in_a_zip_that_lead_outside_are_unpacked_inside(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "a" / "b"
    temporary.mkdir(parents=True)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    with zipfile.ZipFile(packed, "a") as archive:
        for name in ("../out", "../../out", "/out", f"{tmp_path}/out"):
            archive.writestr(name, "escaped")
    with acquire(str(packed)) as acquired:
        inside = acquired.folder
        assert (inside / "out").is_file()
        outside = [path for path in tmp_path.rglob("out") if not path.is_relative_to(inside)]
    assert outside == []
    assert not Path("/out").exists()


def scratched(path: Path) -> None:
    """Wrong bytes in the middle of the compressed weights."""
    content = bytearray(path.read_bytes())
    begin = content.index(b"model.safetensors") + 40
    content[begin : begin + 400 : 3] = b"\xff" * len(range(begin, begin + 400, 3))
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    """The flag of an encrypted file on each entry."""
    content = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        place = content.find(sign)
        while place >= 0:
            content[place + offset] |= 1
            place = content.find(sign, place + 4)
    path.write_bytes(content)


def with_only(*names: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")

    return change


DAMAGED = "not a zip file, or a damaged one: "
NO_MODEL = "no config.json or modules.json; folders in it that have one: "
BAD_ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-60]), DAMAGED),
    "scratched": (scratched, DAMAGED),
    "encrypted": (encrypted, DAMAGED),
    "text": (lambda path: path.write_text("PK"), DAMAGED),
    "empty file": (lambda path: path.write_bytes(b""), DAMAGED),
    "empty zip": (with_only(), f"{NO_MODEL}none"),
    "no model": (with_only("notes.txt", "deep/deeper/config.json"), f"{NO_MODEL}none"),
    "two models": (with_only("one/config.json", "two/config.json"), f"{NO_MODEL}one, two"),
}


@pytest.mark.parametrize("case", BAD_ZIPS)
def test_a_zip_without_one_whole_model_is_a_sentence_that_names_the_zip(
    packed: Path, case: str
) -> None:
    break_it, sentence = BAD_ZIPS[case]
    break_it(packed)
    with pytest.raises(BadModel) as raised, acquire(str(packed)):
        pass
    assert str(raised.value).startswith(f"{packed}: {sentence}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "name",
    ["nothing", "", "./no/folder", "../organisation/name", "/no/folder", "a/b/c", "x" * 300],
    ids=lambda name: name[:10],
)
def test_a_source_that_does_not_exist_is_refused_in_one_sentence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadSetting) as raised, acquire(name):
        pass
    assert str(raised.value).startswith(f"{name}: no such directory or zip file, and not the name")
