"""gRPC's own services: health checking, served by HTTP's readiness handlers, and reflection.

With reflection grpcurl, Postman and the like need no .proto files. Sources:
github.com/grpc/grpc/blob/master/doc/health-checking.md and server-reflection.md.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection

from runtime.serving.grpc.codec import SERVICE, grpc_status, http_target, service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from runtime.serving.http.messages import Response

_NOT_FOUND: Final = 404
_STATUSES: Final = {
    200: HealthCheckResponse.SERVING,
    _NOT_FOUND: HealthCheckResponse.SERVICE_UNKNOWN,
    503: HealthCheckResponse.NOT_SERVING,
}
_HEALTH: Final = "grpc.health.v1.Health"
_POLL_S: Final = 0.5  # of a status that a client watches

Context = Any  # grpc publishes no types


class Health(HealthServicer):  # type: ignore[misc]  # grpc_health publishes no types
    """Health of the server, under no name or the protocol's, and of each model under its own."""

    def __init__(
        self, query: Callable[[str, Context], Awaitable[Response]], stopping: asyncio.Event
    ) -> None:
        """Respond by ``query``, HTTP's handler; end watches once ``stopping`` is set."""
        self._query, self._stopping = query, stopping

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:  # noqa: N802 - the protocol's name
        """Report whether a service is serving; ``NOT_FOUND`` for an unknown name."""
        response = await self._query_status(request, context)
        if response.status == _NOT_FOUND:
            await context.abort(*grpc_status(response))
        return HealthCheckResponse(status=_STATUSES[response.status])

    async def Watch(  # noqa: N802 - likewise
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """Report the status of a service now and whenever it changes, until the server stops."""
        last = None
        while not self._stopping.is_set():
            status = _STATUSES[(await self._query_status(request, context)).status]
            if status != last:
                yield HealthCheckResponse(status=status)
            last = status
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _POLL_S)
        if last != HealthCheckResponse.NOT_SERVING:
            yield HealthCheckResponse(status=HealthCheckResponse.NOT_SERVING)

    async def _query_status(self, request: HealthCheckRequest, context: Context) -> Response:
        """Return the response of the readiness handler; abort where it has another error."""
        is_server = request.service in {"", SERVICE}
        target = "/v2/health/ready" if is_server else http_target(request.service, "", "ready")
        response = await self._query(target, context)
        if response.status not in _STATUSES:
            await context.abort(*grpc_status(response))
        return response


class Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # no types are published
    """Describes the services of a server, to clients with a key where keys are required."""

    def __init__(
        self, authorize: Callable[[Context], Awaitable[None]], stopping: asyncio.Event
    ) -> None:
        """Abort calls that ``authorize`` does not admit; end streams once ``stopping`` is set."""
        pool = service().file.pool
        for module in (health_pb2, reflection_pb2):
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        super().__init__((SERVICE, _HEALTH, SERVICE_NAME), pool)
        self._authorize, self._stopping = authorize, stopping

    async def ServerReflectionInfo(  # noqa: N802 - the protocol's name
        self, stream: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Respond to queries for services, symbols and files."""
        await self._authorize(context)
        async for response in super().ServerReflectionInfo(self._until_stopping(stream), context):
            yield response

    async def _until_stopping(self, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Pass the queries of a client on; an idle one must not delay the server's end."""
        queries, stop = aiter(stream), asyncio.ensure_future(self._stopping.wait())
        try:
            while True:
                query = asyncio.ensure_future(anext(queries))
                query.add_done_callback(_retrieve)
                await asyncio.wait((query, stop), return_when=asyncio.FIRST_COMPLETED)
                if not query.done():
                    query.cancel()
                    return
                yield query.result()
        except StopAsyncIteration:
            return
        finally:
            stop.cancel()


def _retrieve(query: asyncio.Future[Any]) -> None:
    """Retrieve the end of a stream that nobody awaits anymore, which asyncio would log."""
    if not query.cancelled():
        query.exception()
