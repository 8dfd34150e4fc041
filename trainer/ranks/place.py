"""Which process of a fit this is, as ``torchrun`` says in environment variables.

In: the environment. Out: a ``Place``, or None where torchrun did not start this process or started
it alone. Raises ``UsageError`` for variables that make no sense. Neither torch nor files.
"""

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
class Place:
    """One of the processes of a fit.

    Attributes:
        rank: from 0, which leads.
        size: how many processes there are.
        local_rank: among those of this machine, from 0: the number of its CUDA device.
        local_size: how many there are on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int

    def part_of(self, rows: int) -> slice:
        """Say which rows of a batch are this process's: contiguous, at most one more than others'.

        Args:
            rows: of the whole batch.

        Returns:
            Their positions in the batch; none where there are fewer rows than processes.
        """
        return slice(rows * self.rank // self.size, rows * (self.rank + 1) // self.size)


def find_place(environment: Mapping[str, str]) -> Place | None:
    """Read what torchrun says.

    Args:
        environment: variables by name.

    Returns:
        The place among several processes; None for a process that is alone.

    Raises:
        UsageError: when the numbers do not fit together.
    """
    if any(name not in environment for name in _NAMES):
        return None
    texts = [environment[name] for name in _NUMBERS]
    try:
        place = Place(*map(int, texts))
    except ValueError:
        place = Place(0, 0, 0, 0)
    if not (0 <= place.rank < place.size and 0 <= place.local_rank < place.local_size):
        given = ", ".join(f"{name}={text}" for name, text in zip(_NUMBERS, texts, strict=True))
        raise UsageError(f"torchrun's variables do not fit together: {given}; start it anew")
    return place if place.size > 1 else None


def command_words(environment: Mapping[str, str]) -> list[str]:
    """Say how ``trainer`` was started, for the command that goes on.

    Args:
        environment: variables by name.

    Returns:
        The words before the arguments.
    """
    place = find_place(environment)
    if place is None:
        return ["trainer"]
    return ["torchrun", "--nproc-per-node", str(place.local_size), "-m", "trainer"]
