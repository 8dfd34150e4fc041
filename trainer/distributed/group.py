"""The processes of a fit: collectives, and how one that fails ends the others.

A process that fails posts its error in torchrun's key-value store and closes its connections. The
collectives of the others then fail, and rank 0 reports the posted error. No fit reaches the
timeout of collectives: a lost process closes its connections, too, and where that goes unnoticed,
``watchdog`` ends the others once torchrun has sent them a signal.

Left to torch and torchrun, a failure would be one traceback a process, or a wait for the timeout.
"""

from __future__ import annotations

import atexit
import hashlib
import traceback
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]  # documented

from runtime.errors import (
    EXIT_BUG,
    EXIT_INTERRUPTED,
    ArtifactError,
    ConnectionLostError,
    DataError,
    OnnxferryError,
    UnavailableError,
    UsageError,
)
from runtime.surfaces import option
from trainer.distributed.watchdog import PATIENCE_S, Watchdog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trainer.distributed.environment import ProcessRank
    from trainer.engines.state import ModelState


_TIMEOUT = timedelta(days=7)  # rank 0 may write for hours while the others wait
_REPORT_TIMEOUT = timedelta(seconds=5)  # for rank 0 to notice a failure and end
_ENDED = "ended"
_LOST = "a process of this fit has ended"

_T = TypeVar("_T")


class ProcessGroup:
    """All processes of a fit, connected."""

    def __init__(self, process: ProcessRank) -> None:
        """Wait until all processes have connected."""
        self.process = process
        silence = f"no answer within {PATIENCE_S:.0f} s after a signal"
        self._watchdog = Watchdog(_connection_lost(_LOST, silence))
        has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
        what = "the processes that torchrun started cannot connect"
        with self._watchdog.waiting(), _translated(what):
            self._store, rank, size = next(rendezvous("env://", timeout=_TIMEOUT))
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if has_nccl else "gloo",
                store=PrefixStore("group", self._store),
                rank=rank,
                world_size=size,
                timeout=_TIMEOUT,
            )

    def all_reduce(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by the sum over all processes; all get the same bits."""
        with self._failures():
            distributed.all_reduce(tensor)

    def all_reduce_max(self, number: int) -> int:
        """Return the largest number of all processes."""
        tensor = torch.tensor(number)
        with self._failures():
            distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
        return int(tensor)

    def broadcast(self, value: _T | None) -> _T:
        """Return rank 0's value in all processes."""
        values = [value]
        with self._failures():
            distributed.broadcast_object_list(values, 0, device=torch.device("cpu"))
        return values[0]  # type: ignore[return-value]  # rank 0 gave one

    def all_gather(self, value: _T) -> list[_T]:
        """Return the values of all processes, by rank."""
        values: list[_T] = [value] * self.process.size
        with self._failures():
            distributed.all_gather_object(values, value)
        return values

    def leave(self, error: BaseException | None) -> int | None:
        """Disconnect; return the exit code, or None if this process must report ``error`` itself.

        Rank 0 ends first: torchrun stops all processes as soon as one has failed.
        """
        code = _exit_code(error)
        if self.process.rank == 0:
            atexit.register(self._store.set, _ENDED, str(code))  # once its message is printed
            self._disconnect()
            return None
        if error is None or isinstance(error, SystemExit):  # done or stopped, as rank 0
            main_code = self._wait_for_main(_TIMEOUT)
            self._disconnect()
            return code or main_code or 0
        failed_alone = not isinstance(error, ConnectionLostError | KeyboardInterrupt)
        if failed_alone:
            text = str(error) if isinstance(error, OnnxferryError) else traceback.format_exc()
            self._store.set(f"error/{self.process.rank}", f"{code} {text}")
        self._disconnect()
        main_code = self._wait_for_main(_REPORT_TIMEOUT)
        if failed_alone:
            return None if main_code is None else code
        return code if main_code is None else main_code

    def _wait_for_main(self, timeout: timedelta) -> int | None:
        """Wait until rank 0 ends and return its exit code; None if it does not."""
        with suppress(RuntimeError):  # also if rank 0 held the store
            self._store.wait([_ENDED], timeout)
            return int(self._store.get(_ENDED))
        return None

    def _disconnect(self) -> None:
        """Close the connections; their threads could abort the process's end."""
        with self._watchdog.waiting():
            distributed.destroy_process_group()

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Translate a failed collective into the error that another process has posted."""
        try:
            with self._watchdog.waiting(), _translated(_LOST):
                yield
        except ConnectionLostError as exc:
            for rank in range(1, self.process.size):
                if self.process.rank == 0 and self._store.check([f"error/{rank}"]):
                    code, _, message = self._store.get(f"error/{rank}").decode().partition(" ")
                    raise _error_class(int(code))(f"rank {rank}: {message}") from exc
            raise


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Translate torch's communication errors, which are all ``RuntimeError``."""
    try:
        yield
    except (RuntimeError, ValueError) as exc:
        raise _connection_lost(what, str(exc).partition("\n")[0]) from exc


def _connection_lost(what: str, reason: str) -> ConnectionLostError:
    return ConnectionLostError(
        f"{what} ({reason}): see torchrun's report; the last checkpoint is kept, "
        f"continue with {option('resume', True)}"
    )


def _error_class(code: int) -> type[OnnxferryError]:
    classes = (UsageError, DataError, ArtifactError)
    return next((each for each in classes if each.exit_code == code), UnavailableError)


def _exit_code(error: BaseException | None) -> int:
    match error:
        case None:
            return 0
        case OnnxferryError():
            return error.exit_code
        case KeyboardInterrupt():
            return EXIT_INTERRUPTED
        case SystemExit():
            return int(error.code or 0) if not isinstance(error.code, str) else EXIT_BUG
        case _:
            return EXIT_BUG


def check_same_fit(group: ProcessGroup, data_digest: str, options: Mapping[str, object]) -> None:
    """Compare data, options and versions before the first step."""
    fits = group.all_gather((data_digest, dict(options)))
    if others := _different([digest for digest, _ in fits]):
        raise DataError(
            f"rank {others} and rank 0 have read different rows: give all processes the same table"
        )
    if others := _different([given for _, given in fits]):
        first = fits[0][1]
        names = {name for _, given in fits for name in first if given.get(name) != first[name]}
        raise UsageError(
            f"rank {others} and rank 0 differ in {', '.join(sorted(names))}: start all processes "
            "with the same options and versions"
        )


def check_same_weights(group: ProcessGroup, state: ModelState) -> None:
    """Compare weights and moments after the same steps, bit for bit."""
    sha256 = hashlib.sha256()
    for vector in (state.values, *state.moments.values()):
        sha256.update(vector.detach().cpu().numpy().data)
    others = _different(group.all_gather(sha256.digest()))
    # NaNs may have other bits elsewhere; the fit then ends as diverged.
    if others and bool(torch.isfinite(state.values).all()):
        raise UnavailableError(
            f"after the same steps, rank {others} and rank 0 have different weights: use machines "
            "of the same kind, with the same versions of torch, or one process"
        )


def claim_device(process: ProcessRank) -> None:
    """Select the CUDA device of this process; each process of a machine has its own."""
    devices = torch.cuda.device_count()
    if process.local_size > devices:
        raise UnavailableError(
            f"this machine has {devices} CUDA devices for {process.local_size} processes: give "
            "torchrun --nproc-per-node as many as there are, or fit on " + option("device", "cpu")
        )
    torch.cuda.set_device(process.local_rank)


def _different(values: Sequence[object]) -> str:
    """Return the ranks whose value is not rank 0's."""
    return ", ".join(str(rank) for rank, value in enumerate(values) if value != values[0])
