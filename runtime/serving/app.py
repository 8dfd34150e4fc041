"""The application: authentication, routing and error handling, independent of any socket."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.errors import OnnxferryError, OverloadError
from runtime.serving.auth import Auth
from runtime.serving.background_tasks import BackgroundTasks
from runtime.serving.handlers.admin import AdminHandlers
from runtime.serving.handlers.platforms import platform_routes
from runtime.serving.handlers.ui import UiHandlers
from runtime.serving.handlers.v2 import V2Handlers
from runtime.serving.http.content_coding import CODINGS, decode_body, is_encoded, is_supported
from runtime.serving.http.messages import Response, error_response, exception_response
from runtime.serving.observability.failures import FailureLog
from runtime.serving.observability.log import Tracer
from runtime.serving.routing import Router

if TYPE_CHECKING:
    from runtime.serving.http.messages import Reply, Request
    from runtime.serving.models.repository import Repository
    from runtime.serving.observability.log import Logger
    from runtime.serving.observability.telemetry import ServerTelemetry
    from runtime.serving.observability.traffic import Traffic
    from runtime.serving.routing import Call, Handler, Routes
    from runtime.serving.settings import Limits

_CODING: Final = b"content-encoding"
_UNSUPPORTED_CODING: Final = error_response(
    415,
    f"this Content-Encoding is not supported; send {CODINGS}, or the body uncompressed",
    ((b"accept-encoding", CODINGS.encode()),),  # RFC 9110, 15.5.16
    "content encoding",
)
_INLINE_BYTES: Final = 4096  # larger compressed bodies are decompressed in a thread
_MAX_DECOMPRESSING: Final = 2  # at once, which bounds their memory


class App:
    """Handles requests.

    Attributes:
        repository: the models.
        limits: of the server.
        traffic: counters of the server.
        logger: of the server.
        failures: failed requests, for the log.
        auth: authenticates requests.
        background_tasks: run slow handlers.
        router: finds the handler of a request.
        routes: handlers by method, by path.
        telemetry: what is measured and sent; None without OpenTelemetry.
    """

    def __init__(
        self, repository: Repository, limits: Limits, traffic: Traffic, logger: Logger, auth: Auth
    ) -> None:
        """Assemble the handlers; see ``build_app``."""
        self.repository, self.limits = repository, limits
        self.traffic, self.logger, self.auth = traffic, logger, auth
        self.failures = FailureLog(logger)
        self.background_tasks = BackgroundTasks(logger)
        self._cors = auth.cors
        self._tracer = Tracer(logger)
        self._decompressing = asyncio.Semaphore(_MAX_DECOMPRESSING)
        routes: Routes = {
            **V2Handlers(repository, limits, traffic).routes(),
            **UiHandlers(repository, limits, auth, self.background_tasks).routes(),
            **AdminHandlers(repository, traffic, self.background_tasks).routes(),
        }
        self.routes: Routes = {**routes, **platform_routes(routes, os.environ)}
        self.router = Router(self.routes, lambda: list(repository.slots))
        self.telemetry: ServerTelemetry | None = None

    def handle(self, request: Request, reply: Reply) -> None:
        """Handle a request; ``reply`` is called once with the response, now or later."""
        if self._cors.is_enabled:
            if preflight := self._cors.preflight(request):
                reply(preflight)
                return
            reply = self._cors.wrap(request, reply)
        if self._tracer.applies_to(request):
            reply = self._tracer.wrap(request, reply)
        if rejected := self.auth.check(request):
            reply(rejected)
            return
        found = self.router.find(request)
        if isinstance(found, Response):
            reply(found)
            return
        handler, call = found
        if _CODING in request.headers and is_encoded(request.headers[_CODING]):
            self._handle_encoded(handler, call, reply)
            return
        try:
            handler(call, reply)
        except OnnxferryError as exc:
            reply(exception_response(exc))

    def _handle_encoded(self, handler: Handler, call: Call, reply: Reply) -> None:
        """Decompress the body, then handle the request."""
        if not is_supported(call.request.headers[_CODING]):
            reply(_UNSUPPORTED_CODING)
            return

        async def handle_decoded() -> Response:
            body = await self._decode(call.request)
            self._reserve(len(body))
            try:
                future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
                handler(replace(call, request=replace(call.request, body=body)), future.set_result)
                return await future
            finally:
                self.traffic.buffered_bytes -= len(body)

        self.background_tasks.start(handle_decoded, reply)

    async def _decode(self, request: Request) -> bytes:
        words = (request.body, request.headers[_CODING], self.limits.body_bytes)
        if len(request.body) <= _INLINE_BYTES:
            return decode_body(*words)
        async with self._decompressing:
            return await asyncio.to_thread(decode_body, *words)

    def _reserve(self, size: int) -> None:
        if self.traffic.buffered_bytes + size > self.limits.buffered_bytes:
            raise OverloadError("too many bodies are in memory; try again in a second")
        self.traffic.buffered_bytes += size


def build_app(
    repository: Repository,
    limits: Limits,
    traffic: Traffic,
    logger: Logger,
    auth: Auth | None = None,
) -> App:
    """Build the application; without ``auth`` every request is admitted."""
    return App(repository, limits, traffic, logger, auth or Auth(None))
