"""Work on a stream of items in threads, results in the stream's order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ordered(
    work: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Apply ``work`` to each item, at most ``threads + 1`` items ahead of the consumer.

    Args:
        work: called in the threads; should spend its time outside the interpreter's lock.
        items: read one by one as threads become free, so that memory stays bounded.
        threads: how many.

    Yields:
        The results in the order of ``items``; an exception of ``work`` is raised in its place.
    """
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="score") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) > threads:
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
    with ThreadPoolExecutor(1, thread_name_prefix="read") as pool:
        coming = pool.submit(next, iterator, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, iterator, None)
            yield item
