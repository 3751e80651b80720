"""A version that was made the default by request is the default after a restart, too."""

from pathlib import Path

import pytest

from predictor.repository.requested_versions import PREFIX, RequestedVersions
from tests.unit.repository.conftest import MakeHarness


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    requested = RequestedVersions(tmp_path / "cache", "/models")
    assert requested.of("m") is None
    requested.keep("m", 1)
    requested.keep("n", 7)
    again = RequestedVersions(tmp_path / "cache", "/models")
    assert (again.of("m"), again.of("n")) == (1, 7)
    again.keep("m", None)
    third = RequestedVersions(tmp_path / "cache", "/models")
    assert (third.of("m"), third.of("n")) == (None, 7)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_another_directory_has_a_file_of_its_own(tmp_path: Path) -> None:
    RequestedVersions(tmp_path, "/models").keep("m", 1)
    assert RequestedVersions(tmp_path, "/others").of("m") is None


@pytest.mark.parametrize("content", [b"", b"[]", b'{"m": "one"}', b"\xff"])
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: bytes) -> None:
    RequestedVersions(tmp_path, "/models").keep("m", 1)
    (path,) = tmp_path.glob(f"{PREFIX}*")
    path.write_bytes(content)
    assert RequestedVersions(tmp_path, "/models").of("m") is None


def test_a_folder_that_cannot_be_written_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    RequestedVersions(tmp_path / "file" / "cache", "/models").keep("m", 1)
    assert "cannot be written" in caplog.text


async def test_a_rollback_outlives_a_restart(new: MakeHarness) -> None:
    first = new()
    first.publish("m", 1)
    first.publish("m", 2)
    await first.start()
    await first.repository.load("m", 1)
    await first.stop()
    second = new()
    await second.start()
    assert second.default() == 1
    second.publish("m", 3)
    await second.rescan()
    assert second.default() == 1
    await second.repository.load("m", None)
    assert second.default() == 3
    await second.stop()
    third = new()
    await third.start()
    assert third.default() == 3


async def test_a_requested_version_that_is_gone_is_not_missed(new: MakeHarness) -> None:
    first = new()
    first.publish("m", 1)
    first.publish("m", 2)
    await first.start()
    await first.repository.load("m", 1)
    await first.stop()
    first.delete("m", 1)
    second = new()
    await second.start()
    assert second.default() == 2


async def test_a_load_that_fails_is_not_kept(new: MakeHarness) -> None:
    first = new()
    first.publish("m", 1, "vectors")
    first.publish("m", 2)
    await first.start()
    with pytest.raises(Exception, match="not reproduced"):
        await first.repository.load("m", 1)
    await first.stop()
    second = new()
    await second.start()
    assert second.repository._models["m"].requested is None
