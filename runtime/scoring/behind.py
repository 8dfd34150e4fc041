"""Work in a thread of its own, one piece behind the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor


class Behind:
    """Does one piece of work while the caller prepares the next; the thread starts when needed."""

    def __init__(self, name: str) -> None:
        """Begin without a thread.

        Args:
            name: of the thread.
        """
        self._name = name
        self._pool: ThreadPoolExecutor | None = None
        self._current: Future[None] | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin a piece of work, once the one before is done.

        Args:
            work: should spend its time outside the interpreter's lock.

        Raises:
            Exception: whatever the work before has raised.
        """
        self.settle()
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            self._pool = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        self._current = self._pool.submit(work)

    def settle(self) -> None:
        """Wait for the work that was begun.

        Raises:
            Exception: whatever it has raised.
        """
        if self._current:
            current, self._current = self._current, None
            current.result()

    def stop(self) -> None:
        """Wait for the work that was begun, whatever becomes of it, and end the thread."""
        if self._pool:
            self._pool.shutdown()
        self._pool = self._current = None
