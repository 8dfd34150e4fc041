"""Work on a stream of items in threads, results in the stream's order."""

from __future__ import annotations

import os
from collections import deque
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future, ThreadPoolExecutor

_SPARE = 2  # items that wait for a thread while the consumer is busy
Item = TypeVar("Item")
Result = TypeVar("Result")
_MOST_THREADS = 8


def available_processors() -> int:
    """Processors this process may use, as far as more threads pay."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return min(len(os.sched_getaffinity(0)), _MOST_THREADS)
    return min(os.cpu_count() or 1, _MOST_THREADS)


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Apply ``work`` to each item, a few items ahead of the consumer.

    Args:
        work: called in the threads; should spend its time outside the interpreter's lock.
        items: read one by one as threads become free, so that memory stays bounded.
        threads: how many.

    Yields:
        The results in the order of ``items``; an exception of ``work`` is raised in its place.
    """
    stream = iter(items)
    first = list(islice(stream, 2))
    if len(first) < 2:  # noqa: PLR2004 - a single item needs no threads, nor what makes them
        yield from map(work, first)
        return
    pending: deque[Future[Result]] = deque()
    with _threads(threads, "score") as pool:
        try:
            for item in chain(first, stream):
                pending.append(pool.submit(work, item))
                if len(pending) > threads + _SPARE:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Let the next item come in a thread of its own while the consumer works on the last one.

    Args:
        items: what takes time to come, outside the interpreter's lock, but never blocks for long:
            the thread is waited for when the consumer leaves.

    Yields:
        The items; an exception of theirs is raised in its place.
    """
    iterator = iter(items)
    with _threads(1, "read") as pool:
        coming = pool.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield item


class BackgroundWriter:
    """Does one piece of work while the caller prepares the next; the thread starts when needed."""

    def __init__(self, name: str) -> None:
        """Begin without a thread.

        Args:
            name: of the thread.
        """
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._current: Future[None] | None = None

    def submit(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before is done.

        Args:
            work: should spend its time outside the interpreter's lock.

        Raises:
            Exception: whatever the work before has raised.
        """
        self.wait()
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._current = self._pool.submit(work)

    def wait(self) -> None:
        """Wait for the work that was begun.

        Raises:
            Exception: whatever it has raised.
        """
        if self._current:
            current, self._current = self._current, None
            current.result()

    def close(self) -> None:
        """Wait for the work that was begun, whatever becomes of it, and end the thread."""
        if self._pool:
            self._pool.shutdown()
        self._pool = self._current = None


def _threads(count: int, name: str) -> ThreadPoolExecutor:
    """Make a pool; what it is made of takes several milliseconds to import."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(count, thread_name_prefix=name)
