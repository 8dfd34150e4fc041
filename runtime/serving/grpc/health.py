"""gRPC's health checking protocol, served by HTTP's readiness handlers.

``Watch`` is left unimplemented: the protocol has clients fall back to ``Check``.
Source: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer

from runtime.serving.grpc.codec import SERVICE, grpc_status, http_target

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.serving.http.messages import Response

_OK: Final = 200
_NOT_READY: Final = 503

Context = Any  # grpc publishes no types


class Health(HealthServicer):  # type: ignore[misc]  # grpc_health publishes no types
    """Health of the server, under no name or the protocol's, and of each model under its own."""

    def __init__(self, query: Callable[[str, Context], Awaitable[Response]]) -> None:
        """Respond by ``query``, which calls HTTP's handler."""
        self._query = query

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802 - the protocol's name
        """Report whether a service is serving; ``NOT_FOUND`` for an unknown name."""
        is_server = request.service in {"", SERVICE}
        target = "/v2/health/ready" if is_server else http_target(request.service, "", "ready")
        response = await self._query(target, context)
        if response.status not in {_OK, _NOT_READY}:
            await context.abort(*grpc_status(response))
        is_serving = response.status == _OK
        status = HealthCheckResponse.SERVING if is_serving else HealthCheckResponse.NOT_SERVING
        return HealthCheckResponse(status=status)
