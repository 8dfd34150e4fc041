from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runtime.io import processors
from runtime.io.processors import available_processors, quota_processors
from runtime.terminal import process

if TYPE_CHECKING:
    from pathlib import Path

V2 = "31 23 0:28 {root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"
V1 = "32 31 0:29 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
OTHER = (
    "22 27 0:21 / /proc rw - proc proc rw\n33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw"
    ",memory\n"
)


def machine(root: Path, mounts: str, group: str, files: dict[str, str]) -> Path:
    """Write the files of a machine on which this process is in ``group``."""
    files = {"proc/self/mountinfo": OTHER + mounts, "proc/self/cgroup": group, **files}
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def v2(path: str, limits: dict[str, str], mounted: str = "/") -> tuple[str, str, dict[str, str]]:
    """Describe a machine with cgroups of version 2 and ``cpu.max`` of some groups."""
    files = {f"sys/fs/cgroup{group}/cpu.max": f"{limit}\n" for group, limit in limits.items()}
    return V2.format(root=mounted), f"0::{path}\n", files


def v1(path: str, limits: dict[str, str], mounted: str = "/") -> tuple[str, str, dict[str, str]]:
    """Describe a machine with cgroups of version 1 and quotas of some groups, in microseconds."""
    files = {}
    for group, limit in limits.items():
        folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
        files[f"{folder}/cpu.cfs_quota_us"], files[f"{folder}/cpu.cfs_period_us"] = limit.split()
    return V1.format(root=mounted), f"5:memory:/other\n4:cpu,cpuacct:{path}\n", files


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(v2("/", {"": "200000 100000"}), 2, id="container"),
        pytest.param(v2("/", {"": "150000 100000"}), 2, id="rounded up"),
        pytest.param(v2("/", {"": "1000 100000"}), 1, id="at least one"),
        pytest.param(v2("/", {"": "100000 50000"}), 2, id="another period"),
        pytest.param(v2("/", {"": "max 100000"}), None, id="max"),
        pytest.param(v2("/", {}), None, id="root of the host"),
        pytest.param(v2("/a/b", {"/a": "300000 100000", "/a/b": "max 100000"}), 3, id="ancestor"),
        pytest.param(
            v2("/a/b", {"/a": "100000 100000", "/a/b": "400000 100000"}), 1, id="smaller ancestor"
        ),
        pytest.param(
            v2("/pods/x", {"": "200000 100000"}, mounted="/pods/x"), 2, id="mounted from its group"
        ),
        pytest.param(v2("/host/x", {"": "200000 100000"}), 2, id="path of the host"),
        pytest.param(v2("/../y", {"": "200000 100000"}), 2, id="outside the namespace"),
        pytest.param(v2("/", {"": "what"}), None, id="unreadable"),
        pytest.param(v1("/", {"": "250000 100000"}), 3, id="version 1"),
        pytest.param(v1("/", {"": "-1 100000"}), None, id="version 1, no quota"),
        pytest.param(v1("/", {"": "0 0"}), None, id="version 1, no period"),
        pytest.param(
            v1("/docker/1", {"/docker": "-1 100000", "/docker/1": "100000 100000"}), 1, id="nested"
        ),
        pytest.param(
            v1("/docker/1/in", {"/in": "300000 100000"}, mounted="/docker/1"), 3, id="in its mount"
        ),
    ],
)
def test_quota_is_the_smallest_of_the_group_and_its_ancestors(
    tmp_path: Path, given: tuple[str, str, dict[str, str]], expected: int | None
) -> None:
    """A process gets no more time than any group above it."""
    assert quota_processors(machine(tmp_path, *given)) == expected


def test_the_hierarchies_of_both_versions_count(tmp_path: Path) -> None:
    """On a hybrid machine version 1 has the CPU's controller."""
    mounts, group, files = v1("/x", {"/x": "100000 100000"})
    root = machine(tmp_path, V2.format(root="/") + mounts, f"{group}0::/x\n", files)
    assert quota_processors(root) == 1


def test_without_proc_there_is_no_quota(tmp_path: Path) -> None:
    """Neither on macOS nor where /proc is not mounted."""
    assert quota_processors(tmp_path) is None


@pytest.mark.parametrize("quota", [None, 1, 1000])
def test_processors_are_those_of_the_mask_and_the_quota(
    monkeypatch: pytest.MonkeyPatch, quota: int | None
) -> None:
    """The smaller of both, and thread pools of other libraries get it where there is a quota."""
    affinity = len(os.sched_getaffinity(0))
    monkeypatch.setattr(processors, "quota_processors", lambda: quota)
    monkeypatch.setattr(process, "quota_processors", lambda: quota)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    process.limit_thread_pools()
    expected = min(quota or affinity, affinity)
    assert available_processors() == expected
    assert os.environ.pop("OMP_NUM_THREADS", None) == (str(expected) if quota else None)
