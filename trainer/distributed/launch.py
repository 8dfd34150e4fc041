"""Commands under ``torchrun``: every process runs them, rank 0 alone writes and prints.

Imports neither torch nor the process group unless torchrun has started several processes.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from runtime.surfaces import command_surface
from trainer.distributed.environment import read_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.distributed.group import ProcessGroup

_T = TypeVar("_T")
_groups: list[ProcessGroup] = []  # of this process, at most one, as torch's default group


def current_group() -> ProcessGroup | None:
    """Return the group of processes that run this command; None for a single one."""
    return _groups[-1] if _groups else None


def is_main_process() -> bool:
    """Return whether this process writes and prints."""
    group = current_group()
    return group is None or group.process.rank == 0


def on_main_process(compute: Callable[[], _T]) -> _T:
    """Compute a value on rank 0 and broadcast it to all processes."""
    group = current_group()
    if group is None:
        return compute()
    return group.broadcast(compute() if is_main_process() else None)


def agree_on_signal(number: int | None) -> int | None:
    """Return the signal that any process has received, so that all stop at the same step."""
    group = current_group()
    return number if group is None else group.all_reduce_max(number or 0) or None


def process_options() -> dict[str, int]:
    """Return what a run records of its processes: nothing for a single one."""
    group = current_group()
    return {"processes": group.process.size} if group else {}


def distributed(command: Callable[..., object]) -> Callable[..., object]:
    """Wrap a command line so that torchrun can start it in several processes."""

    def run(*, prog_name: str) -> object:
        process = read_environment(os.environ)
        if process is None:
            return command(prog_name=prog_name)
        from trainer.distributed.group import ProcessGroup

        with command_surface(), _silenced() if process.rank > 0 else nullcontext():
            group = ProcessGroup(process)
            _groups.append(group)
            try:
                return command(prog_name=prog_name)
            finally:
                _groups.remove(group)
                code = group.leave(sys.exception())
                if code is not None:
                    sys.exit(code)

    return run


@contextmanager
def _silenced() -> Iterator[None]:
    with (
        Path(os.devnull).open("w", encoding="utf-8") as null,
        redirect_stdout(null),
        redirect_stderr(null),
    ):
        yield
