"""How much memory there may be, is, and is needed."""

import os
from pathlib import Path

import pytest

from predictor.repository import memory
from predictor.repository.memory import MIB, cgroup_memory, limit_bytes


@pytest.fixture
def groups(tmp_path: Path) -> tuple[Path, Path]:
    """Root of the cgroup tree, and what says where in it the process is (v2)."""
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    (root / "pods" / "pod").mkdir(parents=True)
    membership.write_text("0::/pods/pod\n")
    return root, membership


def test_the_tightest_limit_on_the_way_counts(groups: tuple[Path, Path]) -> None:
    root, _ = groups
    (root / "memory.max").write_text("max\n")
    (root / "pods" / "memory.max").write_text(f"{300 * MIB}\n")
    (root / "pods" / "pod" / "memory.max").write_text(f"{500 * MIB}\n")
    assert cgroup_memory(*groups) == 300 * MIB


@pytest.mark.parametrize("content", ["max\n", "", "garbage", f"{(1 << 63) - 4096}\n"])
def test_a_cgroup_without_a_limit_gives_none(groups: tuple[Path, Path], content: str) -> None:
    (groups[0] / "pods" / "pod" / "memory.max").write_text(content)
    assert cgroup_memory(*groups) is None


def test_a_machine_without_cgroups_has_no_limit(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path / "none", tmp_path / "neither") is None


def test_limits_of_cgroup_version_1_are_read(tmp_path: Path) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "self"
    (root / "memory" / "pod").mkdir(parents=True)
    (root / "memory" / "pod" / "memory.limit_in_bytes").write_text("1048576\n")
    membership.write_text("5:cpu,cpuacct:/other\n4:memory:/pod\n")
    assert cgroup_memory(root, membership) == MIB


def test_the_setting_beats_the_cgroup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "cgroup_memory", lambda: 1000)
    assert limit_bytes(7) == 7 * MIB
    assert limit_bytes(0) == 900
    monkeypatch.setattr(memory, "cgroup_memory", lambda: None)
    assert limit_bytes(0) is None
    assert limit_bytes(7) == 7 * MIB


def test_memory_in_use_is_what_the_kernel_says() -> None:
    memory.give_back()  # otherwise the block may lie where other tests have freed some
    before = memory.resident_bytes()
    block = bytearray(os.urandom(1)) * (64 * MIB)
    during = memory.resident_bytes()
    assert 60 * MIB < during - before < 80 * MIB
    del block
    memory.give_back()
    assert memory.resident_bytes() - before < 10 * MIB


class Cycle:
    """What only the collector of cycles can free."""

    freed: list[bool]

    def __init__(self, freed: list[bool]) -> None:
        self.freed, self.me = freed, self

    def __del__(self) -> None:
        self.freed.append(True)


def test_circles_of_references_are_freed() -> None:
    freed: list[bool] = []
    Cycle(freed)
    memory.give_back()
    assert freed == [True]
