"""A progress bar in a notebook; IPython is imported only where it runs."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    ShowProgress = Callable[[int, int, str], None]

_REFRESH_PER_SECOND: Final = 4
_PERCENT: Final = 100


class _Bar:
    """A bar as a notebook shows it: an element of HTML, as text in other front ends."""

    def __init__(self, label: str, done: int, total: int, text: str, unit: str) -> None:
        self._label, self._done, self._total = label, done, total
        self._text, self._unit = text, unit

    def __repr__(self) -> str:
        if not self._total:
            return f"{self._label} {self._text}"
        of = f" {self._unit}" if self._unit else f"/{self._total}"
        return f"{self._label} {self._done}{of}  {self._text}"

    def _repr_html_(self) -> str:
        from html import escape

        share = f' value="{self._done}" max="{self._total}"' if self._total else ""  # else it moves
        bar = f"<progress{share}></progress>"
        return f"<div>{bar} {escape(repr(self))}</div>"


def is_notebook() -> bool:
    """Whether this code runs in a cell of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_bar(label: str, unit: str = "") -> Iterator[ShowProgress]:
    """Show a bar that is updated in place; takes steps done, their total, and a text.

    ``unit`` is named in place of the total, such as ``%``.
    """
    from IPython.display import display

    handle = display(_Bar(label, 0, 0, "", unit), display_id=True)
    shown = 0.0

    def show(done: int, total: int, text: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if (done < total or not total) and now - shown < 1 / _REFRESH_PER_SECOND:
            return
        shown = now
        if handle is not None:
            handle.update(_Bar(label, done, total, text, unit))

    yield show


@contextmanager
def rows_bar(label: str, size: int | None) -> Iterator[Callable[[int, int], None] | None]:
    """Show a bar of the bytes and rows that it takes; yields None where this is no notebook.

    ``size`` is that of the table, in bytes; None if it is unknown.
    """
    if not is_notebook():
        yield None
        return
    started, rows = time.monotonic(), 0
    with notebook_bar(label, "%") as show:

        def on_progress(bytes_read: int, rows_read: int) -> None:
            nonlocal rows
            rows = rows_read
            share = min(_PERCENT * bytes_read // size, _PERCENT - 1) if size else 0
            show(share, _PERCENT if size else 0, describe())

        def describe() -> str:
            return f"{rows:,} rows, {rows / max(time.monotonic() - started, 1e-9):,.0f} rows/s"

        yield on_progress
        show(_PERCENT, _PERCENT, describe())
