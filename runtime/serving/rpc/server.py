"""Listen for gRPC beside HTTP, in the same event loop. Raises ``UnavailableError``.

gRPC's own way to end cancels calls that reach it before the client has heard of the end. So for a
moment answers are kept back: who waits for one sends no more, hears of the end, and then gets it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from runtime.errors import UnavailableError
from runtime.serving.rpc.health import Health
from runtime.serving.rpc.service import Service

if TYPE_CHECKING:
    from runtime.serving.access.certificate import Certificate
    from runtime.serving.app import App
    from runtime.serving.http.message import Handle
    from runtime.serving.settings import Settings

_HEADROOM_BYTES: Final = 64 * 1024  # a message is a little more than its tensors
_LONGEST_MS: Final = 2**31 - 1
_HELD_S: Final = 0.1  # twice: a request on its way arrives, and the word of the end does


class RpcServer:
    """A server of gRPC.

    Attributes:
        port: that it listens on.
    """

    def __init__(self, server: Any, service: Service, port: int) -> None:  # noqa: ANN401 - grpc publishes no types
        """Take what ``start`` has made."""
        self._server, self._service, self.port = server, service, port

    async def stop(self, grace_s: float) -> None:
        """Take no more calls and let those that are there end.

        Args:
            grace_s: seconds that they may take.
        """
        self._service.inference.hold()
        await asyncio.sleep(_HELD_S)
        stopping = asyncio.ensure_future(self._server.stop(grace_s))
        await asyncio.sleep(_HELD_S)
        self._service.inference.release()
        await stopping


async def start(app: App, handle: Handle, settings: Settings, *, shared: bool) -> RpcServer:
    """Listen.

    Args:
        app: its models.
        handle: answers what is no inference.
        settings: where, and with which limits.
        shared: other processes of this server take the same address.

    Returns:
        A server that answers.

    Raises:
        UnavailableError: when the address is not to be had.
    """
    limits, where = settings.limits, _address(settings.host, settings.grpc_port or 0)
    server = grpc.aio.server(
        maximum_concurrent_rpcs=limits.connections,
        options=[
            ("grpc.max_receive_message_length", limits.body_bytes + _HEADROOM_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_metadata_size", limits.header_bytes),
            ("grpc.absolute_max_metadata_size", limits.header_bytes),
            ("grpc.server_handshake_timeout_ms", _milliseconds(limits.header_s)),
            ("grpc.max_connection_idle_ms", _milliseconds(limits.idle_s)),
            ("grpc.so_reuseport", int(shared)),
        ],
    )
    service = Service(app, handle)
    server.add_generic_rpc_handlers((service.handler(), Health(service.ask).handler()))
    try:
        port = (
            server.add_secure_port(where, _credentials(settings.certificate))
            if settings.certificate
            else server.add_insecure_port(where)
        )
    except RuntimeError as exc:
        raise UnavailableError(
            f"cannot listen for gRPC on {where}; choose another with --grpc-port"
        ) from exc
    await server.start()
    return RpcServer(server, service, port)


def _milliseconds(seconds: float) -> int:
    return max(1, min(round(1000 * seconds), _LONGEST_MS))


def _credentials(certificate: Certificate) -> Any:  # noqa: ANN401 - grpc publishes no types
    """Show the certificate as it lies in its files when a connection is made."""

    def read() -> Any:  # noqa: ANN401 - likewise
        pair = (certificate.key.read_bytes(), certificate.chain.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair])

    def renew() -> Any:  # noqa: ANN401 - likewise
        with contextlib.suppress(OSError):
            return read()
        return None  # as before

    return grpc.dynamic_ssl_server_credentials(read(), renew)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
