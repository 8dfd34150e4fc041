"""The one line with which a server starts: what is served, where and on what, how to try it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from runtime.days import name_instant
from runtime.screen.terminal import harmless
from runtime.value import Value

if TYPE_CHECKING:
    import socket

    from runtime.schema import Feature
    from runtime.serving.app import App


class Place(Value, frozen=True):
    """Where a server listens.

    Attributes:
        host: as the socket has it.
        port: of HTTP.
        grpc_port: None where there is no gRPC.
        has_tls: whether it is https.
    """

    host: str
    port: int
    grpc_port: int | None
    has_tls: bool

    @classmethod
    def of(cls, listener: socket.socket, grpc_port: int | None, *, has_tls: bool) -> Place:
        """Ask a bound socket where it is."""
        host, port = listener.getsockname()[:2]
        return cls(host, port, grpc_port, has_tls)


def start_line(app: App, place: Place) -> str:
    """Say what is served.

    Args:
        app: its models.
        place: where.

    Returns:
        One line, harmless to a terminal.
    """
    host = f"[{place.host}]" if ":" in place.host else place.host
    where = f"{'https' if place.has_tls else 'http'}://{host}:{place.port}"
    models = list(app.repository.models())
    served = ", ".join(f"{one.name} {one.version}" for one in models)
    first = models[0].predictor
    row = {feature.name: _example(feature) for feature in first.schema.features}
    query = f"?model={models[0].name}" if len(models) > 1 else ""
    also = f", gRPC at port {place.grpc_port}," if place.grpc_port else ""
    key = "" if app.gate.keys is None else ' -H "X-API-Key: $KEY"'
    return harmless(
        f"{served} at {where}{also} on {first.session.provider} ({first.session.reason}); "
        f"try: curl{key} {where}/predict{query} -d '{msgspec.json.encode(row).decode()}'"
    )


def _example(feature: Feature) -> float | str:
    """A value that the column may hold."""
    if feature.categories:
        return feature.categories[0]
    if feature.origin:
        return name_instant(round((feature.minimum + feature.maximum) / 2), feature.origin)
    return float(f"{(feature.minimum + feature.maximum) / 2:.3g}")
