"""The settings of a server, and the limits on what clients may request.

Every limit is checked before anything of that size is allocated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.choices import LogLevel, ProviderChoice
    from runtime.io.paths import Location
    from runtime.serving.tls import Certificate

KIB = 1024
MIB = 1024 * KIB


class Limits(Value, frozen=True):
    """The limits of a server; the defaults suit a small machine.

    Attributes:
        connections: open at once; excess ones receive a 503 and are closed.
        in_flight: requests in flight, or admitted in one iteration of the event loop; excess ones
            receive a 503, which bounds the latency of the others. 64 clients that wait for each
            response, and an operator, are always admitted (benchmarks/overload.py). The pipelined
            requests of one client are admitted together.
        pipelined: requests of one connection in flight; further ones wait in its socket.
        header_bytes: of a request's line and header fields; beyond, 431.
        header_fields: of a request; beyond, 431.
        body_bytes: of a request; beyond, 413.
        buffered_bytes: of all bodies in memory; beyond, 503.
        rows: of a request; beyond, 413.
        batch_rows: of a micro-batch; larger ones outgrow the CPU caches, which costs more than
            another call of the model.
        header_s: seconds to send a request's line and header fields; beyond, 408.
        body_s: seconds to send a body; beyond, 408.
        idle_s: seconds a connection may be idle.
        write_s: seconds a client may leave its response unread.
        drain_s: seconds that shutdown waits for pending responses.
    """

    connections: int = 1024
    in_flight: int = 68
    pipelined: int = 64
    header_bytes: int = 16 * KIB
    header_fields: int = 100
    body_bytes: int = 16 * MIB
    buffered_bytes: int = 256 * MIB
    rows: int = 262_144
    batch_rows: int = 2048
    header_s: float = 10.0
    body_s: float = 30.0
    idle_s: float = 75.0
    write_s: float = 30.0
    drain_s: float = 30.0


DEFAULT_LIMITS = Limits()


class Settings(Value, frozen=True):
    """The settings of a server.

    Attributes:
        host: interface to listen on.
        port: 0 chooses a free one.
        provider: execution provider of the models.
        limits: on what clients may request.
        models: folder of bundles, where new ones are found; None without one.
        watches: reload a bundle when its folder changes.
        level: minimum level that is logged.
        grpc_port: None disables gRPC, 0 chooses a free port.
        key_file: API keys; None requires none.
        certificate: for TLS; None disables it.
        workers: processes.
        origins: of pages that browsers let read the responses; see ``cors``.
        signer: PEM file of the public key that must have signed each bundle, read at each load.
    """

    host: str
    port: int
    provider: ProviderChoice = "auto"
    limits: Limits = DEFAULT_LIMITS
    models: Location | None = None
    watches: bool = False
    level: LogLevel = "info"
    grpc_port: int | None = None
    key_file: Path | None = None
    certificate: Certificate | None = None
    workers: int = 1
    origins: frozenset[str] = frozenset()
    signer: Path | None = None
