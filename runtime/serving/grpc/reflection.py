"""gRPC's server reflection, so that grpcurl, Postman and the like need no .proto files.

Source: github.com/grpc/grpc/blob/master/doc/server-reflection.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection

from runtime.serving.grpc.codec import SERVICE, service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

_HEALTH: Final = "grpc.health.v1.Health"

Context = Any  # grpc publishes no types


class Reflection(reflection.ReflectionServicer):  # type: ignore[misc]  # no types are published
    """Describes the services of a server, to clients with a key where keys are required."""

    def __init__(self, authorize: Callable[[Context], Awaitable[None]]) -> None:
        """Abort the calls that ``authorize`` does not admit."""
        pool = service().file.pool
        for module in (health_pb2, reflection_pb2):
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        super().__init__((SERVICE, _HEALTH, SERVICE_NAME), pool)
        self._authorize = authorize

    async def ServerReflectionInfo(  # noqa: N802 - the protocol's name
        self, stream: AsyncIterator[Any], context: Context
    ) -> AsyncIterator[Any]:
        """Respond to queries for services, symbols and files."""
        await self._authorize(context)
        async for response in super().ServerReflectionInfo(stream, context):
            yield response
