"""The CPU limit of a cgroup, version 1 and 2, nested or not."""

from pathlib import Path

import pytest

from predictor.engine import cpu


@pytest.mark.parametrize(
    ("text", "cpus"), [("max 100000\n", None), ("200000 100000\n", 2.0), ("50000 100000", 0.5)]
)
def test_version_2(text: str, cpus: float | None) -> None:
    assert cpu.quota_v2(text) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", None), ("150000", 1.5), ("0", None)])
def test_version_1(quota: str, cpus: float | None) -> None:
    assert cpu.quota_v1(quota, "100000") == cpus


def write(folder: Path, name: str, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_the_tightest_limit_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    write(tmp_path, "membership", "0::/kubepods/pod1/container\n")
    write(tmp_path / "kubepods", "cpu.max", "800000 100000")
    write(tmp_path / "kubepods/pod1", "cpu.max", "300000 100000")
    write(tmp_path / "kubepods/pod1/container", "cpu.max", "max 100000")
    assert cpu.cgroup_limit(tmp_path, tmp_path / "membership") == 3.0


def test_version_1_tree(tmp_path: Path) -> None:
    write(tmp_path, "membership", "4:memory:/x\n1:cpu,cpuacct:/pod\n")
    write(tmp_path / "cpu/pod", "cpu.cfs_quota_us", "250000")
    write(tmp_path / "cpu/pod", "cpu.cfs_period_us", "100000")
    assert cpu.cgroup_limit(tmp_path, tmp_path / "membership") == 2.5


def test_inside_a_cgroup_namespace_the_root_is_the_container(tmp_path: Path) -> None:
    write(tmp_path, "membership", "0::/\n")
    write(tmp_path, "cpu.max", "100000 100000")
    assert cpu.cgroup_limit(tmp_path, tmp_path / "membership") == 1.0


def test_without_a_cgroup_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu.cgroup_limit(tmp_path, tmp_path / "missing") is None


def test_there_is_always_one_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "cgroup_limit", lambda: 0.1)
    assert cpu.available_cpus() == 1
