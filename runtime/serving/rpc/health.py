"""gRPC's own health check, as Kubernetes and load balancers ask it.

In: the name of a service: none, or the protocol's, for the whole server; or a model's. Out: whether
it serves, from the very handler that answers HTTP's readiness, and by the same rules without a key;
``NOT_FOUND`` for a name that nobody has.
Source: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import grpc

from runtime.serving.rpc.messages import HEALTH, INFERENCE, address, message, service
from runtime.serving.rpc.writing import status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from runtime.serving.http.message import Response
    from runtime.serving.rpc.messages import Message

_SERVING, _NOT_SERVING = 1, 2
_OK: Final = 200
_NOT_READY: Final = 503
_SERVER: Final = ("", INFERENCE)

Context = Any  # grpc publishes no types


class Health:
    """Answers health checks."""

    def __init__(self, ask: Callable[[str, Context], Awaitable[Response]]) -> None:
        """Take who knows.

        Args:
            ask: gives HTTP's answer to a target.
        """
        self._ask = ask

    def handler(self) -> object:
        """Give what a server of gRPC is told to serve."""
        check = grpc.unary_unary_rpc_method_handler(
            self._check,
            message("HealthCheckRequest", HEALTH).FromString,
            lambda answer: answer.SerializeToString(),
        )
        name = service(HEALTH).full_name
        return grpc.method_handlers_generic_handler(name, {"Check": check})

    async def _check(self, sent: Message, context: Context) -> Message:
        is_server = sent.service in _SERVER
        target = "/v2/health/ready" if is_server else address(sent.service, "", "ready")
        response = await self._ask(target, context)
        if response.status not in {_OK, _NOT_READY}:
            await context.abort(*status_of(response))
        serves = response.status == _OK
        return message("HealthCheckResponse", HEALTH)(status=_SERVING if serves else _NOT_SERVING)
