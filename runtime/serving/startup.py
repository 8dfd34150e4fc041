"""Server startup: the file descriptor limit and the startup line."""

from __future__ import annotations

import resource
import shlex
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec
from msgspec.structs import replace

from runtime.printable import list_first, printable
from runtime.schema.example import example_row
from runtime.serving.listeners import UNIX
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.serving.app import App
    from runtime.serving.models.served import ServedModel
    from runtime.serving.settings import Limits

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - printed, not bound
_OTHER_FILES: Final = 512  # sockets, libraries, bundles being loaded, connections being rejected


# ---- File descriptors --------------------------------------------------------------------------


def raise_fd_limit(limits: Limits) -> Limits:
    """Raise the soft limit on open files as far as the connections need.

    Returns the limits with fewer connections where the system does not allow that: a process out
    of file descriptors can neither reject a connection nor open a bundle.
    """
    needed = limits.connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return limits
    target = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    except (OSError, ValueError):  # macOS has a further, undocumented limit
        target = soft
    return replace(limits, connections=min(limits.connections, _max_connections(target)))


def _max_connections(files: int) -> int:
    return max(files - _OTHER_FILES, files // 2)


# ---- Startup line ------------------------------------------------------------------------------


class ServerAddress(Value, frozen=True):
    """The address of a server.

    Attributes:
        host: as bound; ``unix:PATH`` for a Unix socket.
        port: of HTTP; 0 for a Unix socket.
        grpc_port: None without gRPC.
        has_tls: whether it is https.
        workers: processes that listen there.
    """

    host: str
    port: int
    grpc_port: int | None
    has_tls: bool
    workers: int

    @classmethod
    def of(
        cls, listener: socket.socket, grpc_port: int | None, workers: int, *, has_tls: bool
    ) -> ServerAddress:
        """Return the address of a bound socket."""
        if listener.family == socket.AF_UNIX:
            return cls(UNIX + listener.getsockname(), 0, None, has_tls, workers)
        host, port = listener.getsockname()[:2]
        return cls(host, port, grpc_port, has_tls, workers)

    @property
    def url(self) -> str:
        """The URL as bound."""
        return self._url_of(self.host)

    @property
    def local_url(self) -> str:
        """The URL on this machine: loopback where all interfaces are bound."""
        return self._url_of(_LOOPBACK.get(self.host, self.host))

    @property
    def unix_path(self) -> str:
        """The path of a Unix socket; empty for other addresses."""
        return self.host.removeprefix(UNIX) if self.host.startswith(UNIX) else ""

    def _url_of(self, host: str) -> str:
        if self.unix_path:
            return self.host
        name = f"[{host}]" if ":" in host else host
        return f"{'https' if self.has_tls else 'http'}://{name}:{self.port}"


def startup_line(app: App, address: ServerAddress) -> str:
    """Return one printable line: what is served, where, on what, and a curl command to try it."""
    models = list(app.repository.models())
    if not models:  # a replaced worker whose models had all been unloaded
        return f"no model is loaded at {address.url}"
    served = list_first([f"{one.name} {one.version}" for one in models])
    session = models[0].predictor.session
    extras = [f"gRPC on port {address.grpc_port}"] if address.grpc_port else []
    extras += [f"{address.workers} workers"] if address.workers > 1 else []
    also = f", {', '.join(extras)}," if extras else ""
    return printable(
        f"{served} at {address.url}{also} on {session.provider} "
        f"({session.reason}); try: {_curl_command(app, address, models)}"
    )


def _curl_command(app: App, address: ServerAddress, models: list[ServedModel]) -> str:
    """Return a shell command that predicts a row of typical values."""
    words = ["curl"]
    if address.has_tls:
        words.append("-k")  # the certificate may name another host or be self-signed
    if app.auth.keys is not None:
        words.append('-H "X-API-Key: $KEY"')
    url = address.local_url
    if address.unix_path:
        words += ["--unix-socket", shlex.quote(address.unix_path)]
        url = f"{'https' if address.has_tls else 'http'}://localhost"
    schema = models[0].predictor.schema
    query = [f"model={quote(models[0].name, safe='')}"] if len(models) > 1 else []
    if {"label", "probability"} & set(schema.feature_names):  # of the new columns, too
        query.append("prefix=predicted_")
    words.append(shlex.quote(f"{url}/predict{'?' if query else ''}{'&'.join(query)}"))
    row = msgspec.json.encode(example_row(schema)).decode()
    return " ".join([*words, "-d", shlex.quote(row)])
