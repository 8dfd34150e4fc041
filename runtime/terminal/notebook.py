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


class _Bar:
    """A bar as a notebook shows it: an element of HTML, as text in other front ends."""

    def __init__(self, label: str, done: int, total: int, text: str) -> None:
        self._label, self._done, self._total, self._text = label, done, total, text

    def __repr__(self) -> str:
        steps = f"{self._done}/{self._total}  " if self._total else ""
        return f"{self._label} {steps}{self._text}"

    def _repr_html_(self) -> str:
        from html import escape

        bar = f'<progress value="{self._done}" max="{self._total}"></progress>'
        return f"<div>{bar} {escape(repr(self))}</div>"


def is_notebook() -> bool:
    """Whether this code runs in a cell of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and hasattr(shell, "kernel")


@contextmanager
def notebook_bar(label: str) -> Iterator[ShowProgress]:
    """Show a bar that is updated in place; takes steps done, their total, and a text."""
    from IPython.display import display

    handle = display(_Bar(label, 0, 0, ""), display_id=True)
    shown = 0.0

    def show(done: int, total: int, text: str) -> None:
        nonlocal shown
        now = time.monotonic()
        if done < total and now - shown < 1 / _REFRESH_PER_SECOND:
            return
        shown = now
        if handle is not None:
            handle.update(_Bar(label, done, total, text))

    yield show
