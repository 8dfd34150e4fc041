"""The folder of the workers' sockets and counts. Raises ``UnavailableError``."""

from __future__ import annotations

import socket
import tempfile
from typing import Final

from runtime.errors import UnavailableError

_LONGEST_NAME: Final = "255"  # of a socket in it: a worker's number


def make_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder that only this user can enter.

    Returns:
        The folder; it goes when it is left.

    Raises:
        UnavailableError: when there is no place for one, or its path is too long for a socket.
    """
    advice = "set TMPDIR to a folder that can be written, with a short path"
    try:
        made = tempfile.TemporaryDirectory(prefix="onnxferry-")
    except OSError as exc:
        raise UnavailableError(f"workers need a folder for their sockets: {advice}") from exc
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(f"{made.name}/{_LONGEST_NAME}")
    except OSError as exc:
        made.cleanup()
        reason = exc.strerror or exc
        raise UnavailableError(
            f"workers cannot have sockets in {made.name}: {reason}; {advice}"
        ) from exc
    return made
