"""Run the fits that are missing, in processes of their own, each within a limit of time."""

from __future__ import annotations

import json
import os
import queue
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tabular.cache import HERE, Cache, Key, Result
from tabular.worker import READY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tabular.worker import Job

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Of every process: one thread, and the modules of this folder.
ENVIRONMENT = dict.fromkeys(_THREADS, "1") | {"PYTHONPATH": str(HERE.parent)}


@dataclass(frozen=True)
class Team:
    """Contenders that share an environment and a program, which fits them."""

    python: Path
    program: str
    contenders: tuple[str, ...]
    identity: str


@dataclass(frozen=True)
class Fit:
    """A fit to make, and where its result belongs."""

    key: Key
    team: Team
    job: Job


class Process:
    """A process of a team, started when it is first needed, and again after a limit ended it."""

    def __init__(self, team: Team, limit_s: float) -> None:
        self._team, self._limit_s = team, limit_s
        self._process: subprocess.Popen[str] | None = None

    def run(self, job: Job) -> Result:
        """Send a job and wait for its result, or for the limit."""
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        process.stdin.write(f"{json.dumps(asdict(job))}\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            is_there = bool(selector.select(self._limit_s))
        line = process.stdout.readline() if is_there else ""
        if line.strip():
            return Result(**json.loads(line))
        self.stop()
        return Result(error="ended" if is_there else f"over {self._limit_s:.0f} s")

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [self._team.python, "-m", self._team.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **ENVIRONMENT},
        )
        if self._process.stdout is None or self._process.stdout.readline().strip() != READY:
            command = f"{self._team.python} -m {self._team.program}"
            raise SystemExit(f"{command} does not start; run it to see why")
        return self._process


def run_all(fits: Sequence[Fit], cache: Cache, *, workers: int, limit_s: float) -> None:
    """Run the fits whose results are not cached, in their order, and cache them.

    Args:
        fits: what the report needs.
        cache: has results, and receives those of now.
        workers: fits at a time.
        limit_s: wall seconds of a fit; one that takes longer has failed.
    """
    missing: queue.SimpleQueue[Fit] = queue.SimpleQueue()
    for fit in fits:
        if cache.find(fit.key) is None:
            missing.put(fit)
    board = _Board(missing.qsize())
    lanes = [
        threading.Thread(target=_work, args=(missing, cache, board, limit_s), daemon=True)
        for _ in range(workers)
    ]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    if board.failure is not None:
        raise board.failure


class _Board:
    """Counts what is done and tells it on stderr."""

    def __init__(self, total: int) -> None:
        self.failure: BaseException | None = None
        self._total, self._done, self._started = total, 0, time.perf_counter()
        self._lock = threading.Lock()

    def tell(self, key: Key, result: Result) -> None:
        with self._lock:
            self._done += 1
            spent = time.perf_counter() - self._started
            left = spent / self._done * (self._total - self._done)
            found = f"{result.accuracy:.1%}, log loss {result.log_loss:.3f}, {result.wall:.1f} s"
            print(
                f"{self._done}/{self._total} {key.table} {key.seed} {key.contender}: "
                f"{result.error or found}; about {left / 60:.0f} min left",
                file=sys.stderr,
            )


def _work(missing: queue.SimpleQueue[Fit], cache: Cache, board: _Board, limit_s: float) -> None:
    """Run fits until none is left, with a process for each team."""
    processes: dict[str, Process] = {}
    try:
        while board.failure is None:
            fit = missing.get_nowait()
            process = processes.setdefault(fit.team.program, Process(fit.team, limit_s))
            result = process.run(fit.job)
            cache.add(fit.key, result)
            board.tell(fit.key, result)
    except queue.Empty:
        pass
    except (Exception, SystemExit) as exc:  # noqa: BLE001 - is raised again where the threads are joined
        board.failure = exc
    finally:
        for process in processes.values():
            process.stop()
