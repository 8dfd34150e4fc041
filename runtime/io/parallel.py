"""Parallel work on a stream of items: ordered map, read-ahead and a background writer."""

from __future__ import annotations

from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from runtime.io.processors import available_processors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

_QUEUED = 2  # items beyond the threads, for when the consumer is busy
_MAX_THREADS = 8

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_threads() -> int:
    """Return the threads for blocks of a table: one a processor, at most 8."""
    return min(available_processors(), _MAX_THREADS)


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Apply ``work`` in threads, a few items ahead of the consumer; results keep their order.

    ``work`` should release the GIL. Items are read as threads become free, so that memory stays
    bounded. An exception of ``work`` is raised in order, too.
    """
    stream = iter(items)
    first = list(islice(stream, 2))
    if len(first) < 2:  # noqa: PLR2004 - a single item needs no threads, nor what makes them
        yield from map(work, first)
        return
    pending: deque[Future[Result]] = deque()
    with _threads(threads, "map") as pool:
        try:
            for item in chain(first, stream):
                pending.append(pool.submit(work, item))
                if len(pending) > threads + _QUEUED:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Read the next item in a thread while the consumer works on the last one.

    Items must not block for long: the thread is joined when the consumer stops.
    """
    iterator = iter(items)
    with _threads(1, "read") as pool:
        pending = pool.submit(next, iterator, None)
        while (item := pending.result()) is not None:
            pending = pool.submit(next, iterator, None)
            yield item


class BackgroundWriter:
    """Runs one write in a thread while the caller prepares the next."""

    def __init__(self, name: str) -> None:
        """Name the thread, which starts with the first write."""
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._current: Future[None] | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Start a write after the previous one, whose exception is raised here."""
        self.wait()
        if self._pool is None:
            self._pool = _threads(1, self._name)
        self._current = self._pool.submit(work)

    def wait(self) -> None:
        """Wait for the write in progress and raise its exception."""
        if self._current:
            current, self._current = self._current, None
            current.result()

    def close(self) -> None:
        """Wait for the write in progress, ignoring its outcome, and end the thread."""
        if self._pool:
            self._pool.shutdown()
        self._pool = self._current = None


def _threads(count: int, name: str) -> ThreadPoolExecutor:
    """Create a thread pool; its import takes several milliseconds."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count, thread_name_prefix=name)
