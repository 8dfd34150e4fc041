"""How many processors this process may use: its affinity and the quota of its cgroups."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path("/")


def available_processors() -> int:
    """Return the number of processors: those of the affinity mask, at most the quota's."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return min(count, quota_processors() or count)


def quota_processors(root: Path = _ROOT) -> int | None:
    """Return the processors that the quotas of the cgroups allow, rounded up; None without one.

    A group is limited by its ancestors, too. Versions 1 and 2 are read, as cgroups(7) and the
    kernel's cgroup-v2.rst describe them.
    """
    quotas = [quota for group in _groups(root) if (quota := _quota(group)) is not None]
    return max(math.ceil(min(quotas)), 1) if quotas else None


def _quota(group: Path) -> float | None:
    """Read a group's CPU time per time, in processors; None if it has no limit."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu.cfs_period_us").read_text()
        limit = int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # ValueError: "max"
        return None
    return limit if limit > 0 else None  # version 1 has -1 for none


def _groups(root: Path) -> Iterator[Path]:
    """List the folders of this process's CPU groups, each with its ancestors."""
    paths = _group_paths(root)
    for line in _lines(root / "proc/self/mountinfo"):  # see proc_pid_mountinfo(5)
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split(" ", 2)
        if kind == "cgroup2":
            path = paths.get("")
        elif kind == "cgroup" and "cpu" in options.split(","):
            path = paths.get("cpu")
        else:
            continue
        if path is None:
            continue
        mounted, point = mount.split(" ")[3:5]
        top = root / point.lstrip("/")
        # A container without a cgroup namespace sees the host's path, and its own group at the top.
        inner = os.path.relpath(path, mounted)
        group = top if inner.startswith("..") else top / inner
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(top))


def _group_paths(root: Path) -> dict[str, str]:
    """Return the path of this process's group by controller; version 2 has the name ``""``."""
    found = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
