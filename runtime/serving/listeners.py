"""Listening sockets, TCP and Unix, of one process or shared by workers."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import UnavailableError, UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runtime.serving.settings import Settings

UNIX: Final = "unix:"
DEFAULT_PORT: Final = 8000
BACKLOG: Final = 4096
_HOST_AND_PORT: Final = re.compile(r"([^:/\[\]]*|\[[^\[\]]*\]):(\d+)")


# ---- Options -----------------------------------------------------------------------------------


def parse_address(host: str, port: int | None) -> tuple[str, int]:
    """Return host and port as ``bind`` takes them; raises ``UsageError``."""
    parsed = parse_host(host)
    if parsed.startswith(UNIX) and port is not None:
        raise UsageError(f"--host {parsed} has no port: leave out --port")
    return parsed, DEFAULT_PORT if port is None else port


def parse_host(text: str) -> str:
    """Return ``--host`` without the brackets of an IPv6 address; raises ``UsageError``."""
    host = text.strip()
    if not host or host == UNIX:
        raise UsageError(
            f"--host {text!r} names no address: give 127.0.0.1 for this machine alone, 0.0.0.0 or "
            "[::] for all interfaces, or unix:PATH"
        )
    if host.startswith(UNIX):
        return UNIX + host[len(UNIX) :].removeprefix("//")
    if "://" in host:
        raise UsageError(f"--host {text} is a URL: give the host alone, and --port")
    if found := _HOST_AND_PORT.fullmatch(host):
        name, port = found[1] or "ADDRESS", found[2]
        raise UsageError(f"--host {text} has a port: give --host {name} --port {port}")
    is_bracketed = host.startswith("[") and host.endswith("]")
    return host[1:-1] if is_bracketed else host


def check_ports(settings: Settings) -> None:
    """Raise ``UsageError`` where HTTP and gRPC cannot both listen."""
    if settings.grpc_port is None:
        return
    if settings.host.startswith(UNIX):
        raise UsageError(
            f"gRPC needs an address with a port, and --host {settings.host} has none: leave out "
            "--grpc-port, or run a second server for gRPC"
        )
    if settings.port and settings.port == settings.grpc_port:
        raise UsageError(
            f"--port and --grpc-port are both {settings.port}: HTTP and gRPC need one each"
        )


# ---- Sockets -----------------------------------------------------------------------------------


class Endpoint(Value, frozen=True):
    """A resolved address: its family, and the address as ``socket.bind`` takes it."""

    family: socket.AddressFamily
    address: tuple[Any, ...]

    @property
    def text(self) -> str:
        """The address and port, as in a URL."""
        return _join(*self.address[:2])


def resolve(host: str, port: int, option: str = "--port") -> Endpoint:
    """Resolve a host to its first address, for HTTP and gRPC alike; raises ``UnavailableError``."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as exc:
        raise _unavailable(_join(host, port), exc, f"--host, {option}") from exc
    return Endpoint(family, address)


def bind(host: str, port: int, *, shared: bool = False, option: str = "--port") -> socket.socket:
    """Return a bound socket; raises ``UnavailableError``.

    Port 0 chooses a free one. ``shared`` sets SO_REUSEPORT, so that the kernel balances connections
    between processes; ``option`` is named in the error. A Unix socket listens already.
    """
    if host.startswith(UNIX):
        return _listen_unix(Path(host[len(UNIX) :]))
    endpoint = resolve(host, port, option)
    listener = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(endpoint.address)
    except OSError as exc:
        listener.close()
        raise _unavailable(_join(host, port), exc, f"--host, {option}") from exc
    listener.setblocking(False)
    return listener


def listen(listener: socket.socket, option: str = "--port") -> None:
    """Listen on a bound socket; raises ``UnavailableError`` and then closes it.

    SO_REUSEADDR lets two servers bind one address at once: only one of them can listen.
    """
    try:
        listener.listen(BACKLOG)
    except OSError as exc:
        host, port = listener.getsockname()[:2]
        listener.close()
        raise _unavailable(_join(host, port), exc, f"--host, {option}") from exc


def probe(host: str, port: int, option: str = "--port") -> None:
    """Raise ``UnavailableError`` if anybody listens on the address."""
    with bind(host, port, option=option) as listener:
        listen(listener, option)


def bind_shared(host: str, port: int, count: int, option: str = "--port") -> list[socket.socket]:
    """Return ``count`` sockets of one address; raises ``UnavailableError``."""
    if host.startswith(UNIX):
        first = bind(host, port)
        return [first, *(first.dup() for _ in range(count - 1))]
    probe(host, port, option)  # SO_REUSEPORT would join another server's sockets silently
    first = bind(host, port, shared=True, option=option)
    port = first.getsockname()[1]
    return [first, *(bind(host, port, shared=True, option=option) for _ in range(count - 1))]


def claim_port(port: int, option: str = "--port") -> socket.socket | None:
    """Claim a port until the returned socket is closed; raises ``UnavailableError``.

    Sockets with SO_REUSEPORT do not exclude each other, so of two servers that start at once
    neither would notice. The name of an abstract Unix socket is claimed atomically and vanishes
    with its process; Linux has them, in the same namespace as its ports (unix(7)).
    """
    if sys.platform != "linux":
        return None
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0onnxferry-port-{port}")
    except OSError as exc:
        claim.close()
        reason = OSError(exc.errno, "another server is starting on this port")
        raise _unavailable(f"port {port}", reason, option) from exc
    return claim


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unavailable(where: str, reason: Exception, options: str) -> UnavailableError:
    text = getattr(reason, "strerror", None) or str(reason)
    return UnavailableError(f"cannot listen on {where}: {text}; choose another with {options}")


# ---- Unix sockets ------------------------------------------------------------------------------


def _listen_unix(path: Path) -> socket.socket:
    """Listen on a Unix socket, replacing one that a dead server left behind."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        with _locked(path.parent):  # of two servers that start at once, one finds the other
            _remove_stale(path)
            listener.bind(str(path))
            listener.listen(BACKLOG)
    except OSError as exc:
        listener.close()
        raise _unavailable(f"{UNIX}{path}", exc, "--host") from exc
    listener.setblocking(False)
    return listener


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on; raises ``OSError`` for another file."""
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(errno.EEXIST, "there is a file that is no socket")
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


@contextmanager
def removed_at_exit(listener: socket.socket) -> Iterator[None]:
    """Remove the file of a Unix socket at the end, unless another server has replaced it."""
    if listener.family != socket.AF_UNIX:
        yield
        return
    path = Path(listener.getsockname())
    before = path.stat().st_ino
    try:
        yield
    finally:
        with suppress(OSError):
            if path.stat().st_ino == before:
                path.unlink()
