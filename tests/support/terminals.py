"""Pseudo-terminals of tests."""

from __future__ import annotations

import os
from contextlib import suppress


def read_all(terminal: int) -> bytes:
    """Read what was written to a terminal until its other end is closed, and close it.

    One read is not enough: the kernel hands over a terminal's output piece by piece.
    """
    shown = b""
    with suppress(OSError):  # Linux says so when the other end is closed
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    return shown
