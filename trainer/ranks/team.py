"""A command in several processes: the first runs it, the others follow.

In: a command line. Out: the same, which does all that in processes that torchrun started; in one
that is alone it does nothing but call the command, and loads nothing. The leader is the one thing
here that is known to the whole process, as torch's own group of processes is.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runtime.errors import EXIT_BUG, EXIT_INTERRUPTED, OnnxferryError
from trainer.ranks.place import find_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.ranks.leading import Leader
    from trainer.ranks.place import Place

_leaders: list[Leader] = []


def find_leader() -> Leader | None:
    """Give what speaks to the other processes; None where there are none."""
    return _leaders[-1] if _leaders else None


def count_processes() -> dict[str, int]:
    """Say how many processes fit, as a run's record has it: nothing where one is alone."""
    leader = find_leader()
    return {"processes": leader.group.place.size} if leader else {}


def in_team(command: Callable[..., object]) -> Callable[..., object]:
    """Make a command one that several processes can run.

    Args:
        command: a command line.

    Returns:
        The command; called in a process that does not lead, it never returns.
    """

    def run(*, prog_name: str) -> object:
        place = find_place(os.environ)
        if place is None:
            return command(prog_name=prog_name)
        if place.rank > 0:
            from trainer.ranks.following import follow

            follow(place)
        with _leading(place):
            return command(prog_name=prog_name)

    return run


@contextmanager
def _leading(place: Place) -> Iterator[None]:
    """End the other processes as this one ends."""
    from trainer.ranks.leading import Leader

    leader = Leader(place)
    _leaders.append(leader)
    try:
        yield
    finally:
        _leaders.remove(leader)
        leader.end(_exit_code(sys.exception()))


def _exit_code(error: BaseException | None) -> int:
    match error:
        case None:
            return 0
        case OnnxferryError():
            return error.exit_code
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case SystemExit():
            return error.code if isinstance(error.code, int) else EXIT_BUG
        case _:
            return EXIT_BUG
