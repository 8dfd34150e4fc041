"""A connection to Ray: local or to a cluster, its resources, its logs and errors."""

from __future__ import annotations

import atexit
import logging
import math
import os
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import UnavailableError, UsageError, find_error, first_line
from runtime.io.processors import available_processors
from runtime.surfaces import option
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT_STORE_BYTES: Final = 128 * 1024 * 1024  # receipts alone pass through it
_CONNECT_S: Final = 10.0
_MAX_FOLDER: Final = 32  # characters: a socket in it may have a path of 107 bytes
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}


class Resources(Value, frozen=True):
    """What each worker needs, and how many there are.

    Attributes:
        workers: number of processes; None for as many as the cluster has room for.
        num_gpus: GPUs for each, such as 0.5.
        num_cpus: processors for each.
    """

    workers: int | None = None
    num_gpus: float = 0.0
    num_cpus: int = 1

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise UsageError(f"invalid {option('workers', self.workers)}: give 1 or more")
        gpus = self.num_gpus
        if not (math.isfinite(gpus) and gpus >= 0 and (gpus <= 1 or gpus == int(gpus))):
            raise UsageError(
                f"invalid {option('num_gpus', self.num_gpus)}: give a share of a GPU up to 1, or a "
                "whole number"
            )

    @property
    def of_actors(self) -> dict[str, Any]:
        """Arguments for Ray's actors."""
        gpus = {"num_gpus": self.num_gpus} if self.num_gpus else {}
        return {"num_cpus": self.num_cpus, **gpus}


def require_ray() -> None:
    """Raise ``UnavailableError`` where Ray Data is not installed."""
    if find_spec("ray") is None or find_spec("pandas") is None:
        raise UnavailableError(
            'the engine ray needs Ray Data, which is not installed: pip install "onnxferry[ray]"'
        )


@contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine that ends with the block.

    A connection that the process has already is used as it is. Raises ``UnavailableError`` without
    Ray, or when the cluster cannot be reached, and ``UsageError`` for an address of Ray's client,
    which does not stream data sets.
    """
    require_ray()
    address = _choose_address(address)
    if "ray" in sys.modules and sys.modules["ray"].is_initialized():
        yield
        return
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    arguments: dict[str, Any] = {"address": address}
    if address is None:
        arguments = {
            "address": "local",  # with None, Ray attaches to a cluster that happens to run
            "num_cpus": available_processors(),
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": str(_session_folder()),
        }
    else:
        _check_reachable(address)
    import ray

    handler = signal.getsignal(signal.SIGTERM)
    stack = ExitStack()
    try:
        # Ray reports lost workers on standard output, which carries the summary.
        told = _Told()
        stack.enter_context(redirect_stdout(told))
        with _without_native_logs():
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **arguments)
        signal.signal(signal.SIGTERM, handler)  # Ray's own exits with another status
        try:
            yield
        except BaseException:
            told.is_over = True  # that it ends the actors is no news
            raise
    except (ConnectionError, RuntimeError, ValueError, OSError) as exc:
        if ray.is_initialized():
            raise
        raise _unreachable(address, first_line(exc)) from exc
    except SystemExit as exc:
        if exc.code == signal.SIGTERM and callable(handler):  # Ray's own, while it was starting
            handler(signal.SIGTERM, None)
        raise
    finally:
        with stack:
            ray.shutdown()


def _choose_address(given: str | None) -> str | None:
    """Choose the address as Ray does; refuse that of its client."""
    address = os.environ.get("RAY_ADDRESS") or given if given == "auto" else given
    if address is not None and "://" in address:
        raise UsageError(
            f"{option('address', address)} is that of Ray's client: run this on a node of the "
            f"cluster, with HOST:PORT, or {option('address', 'auto')} without RAY_ADDRESS"
        )
    return address


class _Told:
    """Passes what Ray prints on to standard error, until a job has failed."""

    def __init__(self) -> None:
        self.is_over = False

    def write(self, text: str) -> int:
        """Write a text."""
        return len(text) if self.is_over else sys.stderr.write(text)

    def flush(self) -> None:
        """Flush the texts."""
        sys.stderr.flush()


def _check_reachable(address: str) -> None:
    """Connect to an address: Ray itself tries for many minutes."""
    address = _latest_address() if address == "auto" else address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # Ray says what is wrong
    import socket

    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as exc:
        raise _unreachable(address, first_line(exc)) from exc


def _latest_address() -> str:
    """Find the address that Ray takes for ``auto``; a dead cluster leaves its own in a file."""
    with suppress(ImportError, AttributeError, TypeError, OSError):  # Ray's own; OSError: none
        from ray._private.services import get_ray_address_from_environment

        return str(get_ray_address_from_environment("auto", None))
    return "auto"


def _unreachable(address: str | None, why: str) -> UnavailableError:
    if address is None:
        return UnavailableError(f"Ray cannot be started here: {why}")
    return UnavailableError(
        f"no Ray cluster at {address!r}: {why}; start its head node first, or leave "
        f"{option('address')} out to use this machine alone"
    )


def _session_folder() -> Path:
    """Create a folder for the files of a local cluster; Ray would leave them there."""
    base = tempfile.gettempdir()
    base = base if len(base) <= _MAX_FOLDER else "/tmp"  # noqa: S108 - the folder in it is private
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir=base))
    # Registered before those of Ray, which write there once more, it runs after them.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@contextmanager
def _without_native_logs() -> Iterator[None]:
    """Drop what Ray's C++ prints to stderr when it starts, with any level of logs."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)


@contextmanager
def quiet_context() -> Iterator[None]:
    """Use a context of Ray Data that prints nothing: no bars, no plans, no logs."""
    from ray.data import DataContext

    context = DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    console = [
        each for each in logging.getLogger("ray.data").handlers if "Plain" in type(each).__name__
    ]
    levels = [each.level for each in console]
    for each in console:
        each.setLevel(logging.CRITICAL)
    try:
        with DataContext.current(context):
            yield
    finally:
        for each, level in zip(console, levels, strict=True):
            each.setLevel(level)


def choose_workers(resources: Resources, *, most: int | None = None, spare_cpus: int = 0) -> int:
    """Choose the number of workers, and refuse more than the cluster has room for.

    ``spare_cpus`` stay free for other tasks of the same job: without them Ray waits for ever.
    ``most`` limits the default. Raises ``UnavailableError`` with the largest possible number.
    """
    import ray

    found = ray.cluster_resources()
    cpus, gpus = int(found.get("CPU", 0)), found.get("GPU", 0.0)
    room = max(cpus - spare_cpus, 0) // resources.num_cpus
    if resources.num_gpus:
        room = min(room, _gpu_room(gpus, resources.num_gpus))
    wanted = resources.workers or max(min(room, most or room), 1)
    if wanted <= room:
        return wanted
    each = f"{resources.num_cpus} CPU" + ("s" if resources.num_cpus > 1 else "")
    if resources.num_gpus:
        each += f" and {resources.num_gpus:g} GPU"
    spare = f", and reading needs {spare_cpus} CPU of its own" if spare_cpus else ""
    most_of_all = f"give at most {option('workers', room)}" if room else "add nodes to the cluster"
    them = "worker does" if wanted == 1 else "workers do"
    raise UnavailableError(
        f"{wanted:,} {them} not fit: each needs {each}{spare}, and Ray has {cpus:,} CPUs and "
        f"{gpus:g} GPUs: {most_of_all}"
    )


def _gpu_room(gpus: float, share: float) -> int:
    """Count the workers that fit: a share is taken from one GPU."""
    return int(gpus) * int(1 / share + 1e-9) if share <= 1 else int(gpus / share)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise the error of a worker itself, and ``UnavailableError`` where workers are lost."""
    import ray.exceptions

    try:
        yield
    except Exception as exc:
        if found := find_error(exc):
            raise found from None
        if _lacks_us(exc):
            raise UnavailableError(
                "the workers of Ray lack onnxferry: install it on every node, in this version and "
                "with [cpu] or [gpu]"
            ) from exc
        if isinstance(exc, ray.exceptions.RayTaskError) or not isinstance(
            exc, ray.exceptions.RayError
        ):
            raise  # a bug of ours, with the traceback of the worker
        raise UnavailableError(
            f"Ray gave up: {first_line(exc)}; the logs of the cluster say why"
        ) from exc


def _lacks_us(error: BaseException) -> bool:
    text = str(error)
    with suppress(AttributeError):
        text += str(error.__cause__)
    return "No module named 'runtime" in text
