"""The one line with which a server starts: what is served, where and on what, how to try it.

It ends with a command that works when it is typed into a shell: what is in a name is quoted for
it, and where all interfaces are listened on, the own machine is asked.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import msgspec

from runtime.printable import printable
from runtime.schema.dates import format_instant
from runtime.value import Value

if TYPE_CHECKING:
    import socket

    from runtime.schema.features import Feature
    from runtime.serving.app import App
    from runtime.serving.models.served import ServedModel


_ALL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not listened on, but told


class Place(Value, frozen=True):
    """Where a server listens.

    Attributes:
        host: as the socket has it.
        port: of HTTP.
        grpc_port: None where there is no gRPC.
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
    ) -> Place:
        """Ask a bound socket where it is."""
        host, port = listener.getsockname()[:2]
        return cls(host, port, grpc_port, has_tls, workers)

    @property
    def url(self) -> str:
        """As it is listened on."""
        return self._at(self.host)

    @property
    def near(self) -> str:
        """As it is asked from the own machine."""
        return self._at(_ALL.get(self.host, self.host))

    def _at(self, host: str) -> str:
        name = f"[{host}]" if ":" in host else host
        return f"{'https' if self.has_tls else 'http'}://{name}:{self.port}"


def start_line(app: App, place: Place) -> str:
    """Say what is served.

    Args:
        app: its models.
        place: where.

    Returns:
        One line, printable to a terminal.
    """
    models = list(app.repository.models())
    if not models:  # a worker took the place of one that died, and all had been unloaded
        return f"no model is loaded at {place.url}"
    served = ", ".join(f"{one.name} {one.version}" for one in models)
    session = models[0].predictor.session
    besides = [f"gRPC at port {place.grpc_port}"] if place.grpc_port else []
    besides += [f"{place.workers} workers"] if place.workers > 1 else []
    also = f", {', '.join(besides)}," if besides else ""
    return printable(
        f"{served} at {place.url}{also} on {session.provider} "
        f"({session.reason}); try: {_command(app, place, models)}"
    )


def _command(app: App, place: Place, models: list[ServedModel]) -> str:
    """Ask for a row in the middle of what training had."""
    words = ["curl"]
    if place.has_tls:
        words.append("-k")  # the certificate is for a name, perhaps of an authority of one's own
    if app.gate.keys is not None:
        words.append('-H "X-API-Key: $KEY"')
    query = f"?model={quote(models[0].name, safe='')}" if len(models) > 1 else ""
    words.append(shlex.quote(f"{place.near}/predict{query}"))
    features = models[0].predictor.schema.features
    row = msgspec.json.encode({feature.name: _example(feature) for feature in features}).decode()
    return " ".join([*words, "-d", shlex.quote(row)])


def _example(feature: Feature) -> float | str:
    """A value that the column may hold."""
    if feature.categories:
        return feature.categories[0]
    if feature.origin:
        return format_instant(round((feature.minimum + feature.maximum) / 2), feature.origin)
    return float(f"{(feature.minimum + feature.maximum) / 2:.3g}")
