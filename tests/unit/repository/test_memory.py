"""How much memory there may be, is, and is needed."""

import os
from pathlib import Path

import pytest

from predictor.repository import memory
from predictor.repository.memory import FIXED, MIB, cgroup_memory, limit_bytes, needed_bytes


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
def test_no_limit(groups: tuple[Path, Path], content: str) -> None:
    (groups[0] / "pods" / "pod" / "memory.max").write_text(content)
    assert cgroup_memory(*groups) is None


def test_no_cgroups_at_all(tmp_path: Path) -> None:
    assert cgroup_memory(tmp_path / "none", tmp_path / "neither") is None


def test_version_1(tmp_path: Path) -> None:
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


def sparse(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.truncate(path, size)


def test_a_bundle_needs_its_largest_graph(tmp_path: Path) -> None:
    sparse(tmp_path / "model.onnx", 100 * MIB)
    sparse(tmp_path / "int8.onnx", 40 * MIB)
    (tmp_path / "bundle.json").write_text("{}")
    assert needed_bytes(tmp_path) == 150 * MIB + FIXED


def test_another_directory_needs_all_its_files(tmp_path: Path) -> None:
    sparse(tmp_path / "model.safetensors", 100 * MIB)
    sparse(tmp_path / "1_Pooling" / "weights", 20 * MIB)
    assert needed_bytes(tmp_path) == 180 * MIB + FIXED


def test_an_empty_directory_needs_the_fixed_part(tmp_path: Path) -> None:
    assert needed_bytes(tmp_path) == FIXED


def test_memory_in_use_is_what_the_kernel_says() -> None:
    before = memory.resident_bytes()
    block = bytearray(os.urandom(1)) * (64 * MIB)
    during = memory.resident_bytes()
    assert 60 * MIB < during - before < 80 * MIB
    del block
    memory.give_back()
    assert memory.resident_bytes() - before < 10 * MIB


class Cycle:
    """What only the collector of cycles can free."""

    gone: list[bool]

    def __init__(self, gone: list[bool]) -> None:
        self.gone, self.me = gone, self

    def __del__(self) -> None:
        self.gone.append(True)


def test_circles_of_references_are_freed() -> None:
    gone: list[bool] = []
    Cycle(gone)
    memory.give_back()
    assert gone == [True]
