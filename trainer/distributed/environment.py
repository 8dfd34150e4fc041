"""Read the rank of this process from torchrun's environment variables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
# torchrun sets all of these; a scheduler or another launcher, some at most.
_NAMES = (*_NUMBERS, "MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID")


@dataclass(frozen=True)
class ProcessRank:
    """One of several processes: its rank among all, and among those of its machine."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    def shard(self, rows: int) -> slice:
        """Return this process's rows of a batch: contiguous, sizes differ by at most one."""
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)


def read_environment(environment: Mapping[str, str]) -> ProcessRank | None:
    """Read torchrun's variables; None without torchrun, or if it started a single process."""
    if any(name not in environment for name in _NAMES):
        return None
    texts = [environment[name] for name in _NUMBERS]
    try:
        process = ProcessRank(*map(int, texts))
    except ValueError:
        process = ProcessRank(0, 0, 0, 0)
    if not (0 <= process.rank < process.size and 0 <= process.local_rank < process.local_size):
        given = ", ".join(f"{name}={text}" for name, text in zip(_NUMBERS, texts, strict=True))
        raise UsageError(f"torchrun's variables are inconsistent: {given}; restart it")
    return process if process.size > 1 else None


def launch_command(environment: Mapping[str, str]) -> list[str]:
    """Return the words that launched ``trainer``, for the command that resumes a fit."""
    process = read_environment(environment)
    if process is None:
        return ["trainer"]
    if "PET_NNODES" in environment:  # torchrun reads the others there, too: Kubeflow sets them
        return ["torchrun", "-m", "trainer"]
    nodes = process.size // process.local_size
    several = ["--nnodes", str(nodes)] if nodes > 1 else []
    return ["torchrun", *several, "--nproc-per-node", str(process.local_size), "-m", "trainer"]
