"""A file that changes under the server: swapped, half written, gone, unreadable."""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from predictor.access import watched
from predictor.access.watched import WatchedFile
from predictor.errors import BadSetting
from tests.unit.access.files import Mount, rewrite_unseen

NOBODY_UID = 65534


def number(content: bytes) -> int:
    """A parser: the file holds a number and a full stop, so half of one is noticed."""
    if not content.endswith(b"."):
        raise BadSetting("no full stop at the end")
    return int(content[:-1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "number"
    made.write_bytes(b"1.")
    return made


def watch(path: Path) -> WatchedFile[int]:
    return WatchedFile("--number", path, number)


def spied(monkeypatch: pytest.MonkeyPatch, function: str) -> list[Path]:
    """The paths that a function of the module is called with from now on."""
    paths: list[Path] = []
    real = getattr(watched, function)

    def spy(path: Path) -> object:
        paths.append(path)
        return real(path)

    monkeypatch.setattr(watched, function, spy)
    return paths


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]


def test_a_changed_file_is_read_again(path: Path) -> None:
    file = watch(path)
    assert not file.refresh(0.0)
    path.write_bytes(b"22.")
    assert file.refresh(1.0)
    assert file.value == 22
    assert not file.refresh(2.0)


def test_a_mounted_secret_is_read_again_when_its_link_is_swapped(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "secret", "number", b"1.")
    file = watch(mount.path)
    for value in (2, 3, 4):
        file.refresh(value * 10.0 - 5)
        mount.swap(b"%d." % value)
        assert file.refresh(value * 10.0)
        assert file.value == value


def test_the_file_is_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, looks = watch(path), spied(monkeypatch, "_stamp")
    for tick in range(1000):
        file.refresh(100.0 + tick / 100)
    assert len(looks) == 10
    file.refresh(50.0)  # a clock that went back must not stop the looking
    assert len(looks) == 11


def test_a_file_that_does_not_change_is_not_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, reads = watch(path), spied(monkeypatch, "_read")
    for tick in range(20):
        assert not file.refresh(float(tick))
    assert len(reads) == 1  # once more after the start, and then never


def test_a_write_in_the_same_tick_of_the_clock_is_noticed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The change time cannot be set back, so it is left out as if the tick were a long one.
    stamp = watched._stamp
    monkeypatch.setattr(watched, "_stamp", lambda p: stamp(p)[:4])
    file = watch(path)
    rewrite_unseen(path, b"2.")
    assert file.refresh(0.0)
    path.write_bytes(b"33.")
    assert file.refresh(1.0)
    rewrite_unseen(path, b"44.")
    assert file.refresh(2.0)
    assert file.value == 44


def test_a_copy_that_keeps_size_and_time_is_noticed(path: Path) -> None:
    file = watch(path)
    file.refresh(0.0)
    changed = path.stat().st_ctime_ns
    while path.stat().st_ctime_ns == changed:  # until the file system's clock ticks
        rewrite_unseen(path, b"2.")
    assert file.refresh(1.0)
    assert file.value == 2


def test_a_half_written_file_leaves_what_was_there_and_is_logged_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch(path)
    path.write_bytes(b"")
    for tick in range(5):
        assert not file.refresh(float(tick))
    assert len(errors(caplog)) == 1
    path.write_bytes(b"23")
    for tick in range(5, 10):
        assert not file.refresh(float(tick))
    assert file.value == 1
    assert len(errors(caplog)) == 2
    assert "no full stop" in errors(caplog)[1]
    assert "stays in force" in errors(caplog)[1]
    path.write_bytes(b"234.")
    assert file.refresh(10.0)
    assert file.value == 234


def test_a_file_that_vanishes_leaves_what_was_there_and_may_come_back(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch(path)
    away = path.rename(path.with_name("away"))
    for tick in range(5):
        assert not file.refresh(float(tick))
    assert [line for line in errors(caplog) if "no such file" in line] == errors(caplog)
    assert len(errors(caplog)) == 1
    away.rename(path)
    assert file.refresh(5.0)  # the log says that it is there again
    assert file.value == 1
    path.unlink()
    assert not file.refresh(6.0)
    assert len(errors(caplog)) == 2


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Take the permission away; as root, stop being root as well."""
    root = os.geteuid() == 0
    path.chmod(0)
    if root:
        try:
            os.seteuid(NOBODY_UID)
        except OSError:
            pytest.skip("root of a namespace without other users: nothing is unreadable here")
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o600)


def test_permission_denied_leaves_what_was_there_until_it_is_given(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch(path)
    file.refresh(0.0)
    file.refresh(1.0)
    with unreadable(path):
        for tick in range(2, 6):
            assert not file.refresh(float(tick))
        with pytest.raises(BadSetting, match="permission denied"):
            watch(path)
    assert len(errors(caplog)) == 1
    assert "permission denied" in errors(caplog)[0]
    assert file.refresh(6.0)
    assert file.value == 1


def test_an_error_that_goes_away_by_itself_is_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch(path)
    path.write_bytes(b"22.")

    def no_descriptors(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("predictor.access.watched.os.open", no_descriptors)
        for tick in range(3):
            assert not file.refresh(float(tick))
    assert len(errors(caplog)) == 1
    assert file.refresh(3.0)
    assert file.value == 22


def test_a_directory_in_its_place_leaves_what_was_there(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = watch(path)
    path.unlink()
    path.mkdir()
    for tick in range(3):
        assert not file.refresh(float(tick))
    assert len(errors(caplog)) == 1
    assert "not a regular file" in errors(caplog)[0]


def test_at_start_flag_path_and_reason_are_named(tmp_path: Path, path: Path) -> None:
    with pytest.raises(BadSetting, match=f"^--number {tmp_path}/none: no such file or directory$"):
        watch(tmp_path / "none")
    with pytest.raises(BadSetting, match=f"^--number {tmp_path}: not a regular file$"):
        watch(tmp_path)
    path.write_bytes(b"1")
    with pytest.raises(BadSetting, match=f"^--number {path}: no full stop at the end$"):
        watch(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadSetting, match="not a regular file"):
        watch(tmp_path / "pipe")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(BadSetting, match="symbolic links"):
        watch(tmp_path / "a")


def test_a_file_that_is_far_too_large_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(watched.MAX_BYTES + 1)
    with pytest.raises(BadSetting, match=f"larger than {watched.MAX_BYTES} bytes"):
        watch(tmp_path / "large")


def test_a_byte_order_mark_is_skipped(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf7.")
    assert watch(path).value == 7


def test_no_descriptor_stays_open(tmp_path: Path, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    file = watch(path)
    for tick in range(20):
        path.write_bytes(b"%d." % tick)
        file.refresh(float(tick))
        with pytest.raises(BadSetting):
            watch(tmp_path)
    assert len(os.listdir("/proc/self/fd")) == before
