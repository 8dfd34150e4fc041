"""The gRPC server, in the event loop of the HTTP server.

gRPC's own graceful stop cancels calls that arrive before the client has received GOAWAY. So
responses are held back for a moment: a client that awaits one sends no further request, receives
GOAWAY, and then its response.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from runtime.errors import UnavailableError
from runtime.serving.grpc.service import InferenceService
from runtime.serving.grpc.standard_services import Health, Reflection
from runtime.serving.listeners import probe, resolve

if TYPE_CHECKING:
    from runtime.serving.app import App
    from runtime.serving.http.messages import Handle
    from runtime.serving.settings import Limits, Settings
    from runtime.serving.tls import CertificateStore

_OPTION: Final = "--grpc-port"
_HEADROOM_BYTES: Final = 64 * 1024  # a message is a little larger than its tensors
_MIN_PING_MS: Final = 5000
_MAX_MS: Final = 2**31 - 1
_HOLD_S: Final = 0.1  # twice: for requests in transit, and for GOAWAY


class GrpcServer:
    """A running gRPC server and the port it listens on."""

    def __init__(
        self,
        server: Any,  # noqa: ANN401 - grpc publishes no types
        service: InferenceService,
        stopping: asyncio.Event,
        port: int,
    ) -> None:
        """Wrap a started server."""
        self._server, self._service, self._stopping, self.port = server, service, stopping, port

    async def stop(self, grace_s: float) -> None:
        """Accept no more calls and await pending ones, at most ``grace_s`` seconds."""
        self._stopping.set()  # streams end
        self._service.inference.pause_responses()
        await asyncio.sleep(_HOLD_S)
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        await asyncio.sleep(_HOLD_S)
        self._service.inference.resume_responses()
        await stopping


async def start(
    app: App, handle: Handle, settings: Settings, tls: CertificateStore | None, *, shared: bool
) -> GrpcServer:
    """Start a server; ``shared`` when other processes listen on the same address.

    Raises ``UnavailableError`` when the address is not available.
    """
    limits, port = settings.limits, settings.grpc_port or 0
    # gRPC itself resolves a host to several addresses, and is content with one of them.
    where = resolve(settings.host, port, _OPTION).text
    if not shared:  # which the supervisor has done; the error has the reason, unlike gRPC's
        probe(settings.host, port, _OPTION)
    server = grpc.aio.server(
        maximum_concurrent_rpcs=limits.connections,
        options=_options(limits, shared=shared),
        interceptors=_interceptors(app),
    )
    service = InferenceService(app, handle)
    stopping = asyncio.Event()
    server.add_generic_rpc_handlers((service.handler(),))
    add_HealthServicer_to_server(Health(service.query, stopping), server)
    add_ServerReflectionServicer_to_server(Reflection(service.authorize, stopping), server)
    try:
        port = (
            server.add_secure_port(where, _credentials(tls))
            if tls
            else server.add_insecure_port(where)
        )
    except RuntimeError as exc:
        raise UnavailableError(
            f"cannot listen on {where} for gRPC; choose another with --host, {_OPTION}"
        ) from exc
    await server.start()
    return GrpcServer(server, service, stopping, port)


def _interceptors(app: App) -> tuple[object, ...]:
    """Return what measures the calls: nothing without telemetry."""
    if app.telemetry is None:
        return ()
    from runtime.serving.grpc.tracing import TracingInterceptor

    return (TracingInterceptor(app.telemetry),)


def _options(limits: Limits, *, shared: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body_bytes + _HEADROOM_BYTES),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.server_handshake_timeout_ms", _milliseconds(limits.header_s)),
        ("grpc.max_connection_idle_ms", _milliseconds(limits.idle_s)),
        ("grpc.so_reuseport", int(shared)),
        # By default a client that sends pings more often than every five minutes is disconnected,
        # yet every ten seconds is usual behind load balancers.
        ("grpc.http2.min_ping_interval_without_data_ms", _MIN_PING_MS),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _milliseconds(seconds: float) -> int:
    return max(1, min(round(1000 * seconds), _MAX_MS))


def _credentials(tls: CertificateStore) -> Any:  # noqa: ANN401 - grpc publishes no types
    """Return credentials that offer the certificate in use to each connection."""
    offered = tls.pem

    def renew() -> Any:  # noqa: ANN401 - likewise
        nonlocal offered
        if tls.pem is offered:
            return None  # keep the previous one
        offered = tls.pem
        return grpc.ssl_server_certificate_configuration([offered])

    first = grpc.ssl_server_certificate_configuration([offered])
    return grpc.dynamic_ssl_server_credentials(first, renew)
