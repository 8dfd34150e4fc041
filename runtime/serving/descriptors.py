"""Files that a process may have open, one for each connection.

A server that reaches the system's limit can neither accept a connection, to tell it so, nor open a
bundle. So the limit is raised as far as the connections need it, and where that is not allowed, the
server takes fewer connections. No errors.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

if TYPE_CHECKING:
    from runtime.serving.limits import Limits

_BESIDE: Final = 512  # what listens, libraries, bundles being loaded, connections being turned away


def allow_connections(limits: Limits) -> Limits:
    """Let this process have as many files open as its connections need.

    Args:
        limits: of the server.

    Returns:
        The same, with fewer connections where the system allows no more.
    """
    needed = limits.connections + _BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a further limit that is told nowhere
            wanted = soft
        return replace(limits, connections=min(limits.connections, _fitting(wanted)))
    return limits


def _fitting(files: int) -> int:
    """Connections for which so many files suffice."""
    return max(files - _BESIDE, files // 2)
