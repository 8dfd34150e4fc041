"""The application: authentication, routing and error handling, independent of any socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import OnnxferryError
from runtime.serving.auth import Auth
from runtime.serving.background_tasks import BackgroundTasks
from runtime.serving.error_responses import exception_response
from runtime.serving.handlers.admin import AdminHandlers
from runtime.serving.handlers.ui import UiHandlers
from runtime.serving.handlers.v2 import V2Handlers
from runtime.serving.http.messages import Response, error_response
from runtime.serving.observability.log import Tracer
from runtime.serving.routing import Router

if TYPE_CHECKING:
    from runtime.serving.http.messages import Reply, Request
    from runtime.serving.models.repository import Repository
    from runtime.serving.observability.log import Logger
    from runtime.serving.observability.traffic import Traffic
    from runtime.serving.routing import Routes
    from runtime.serving.settings import Limits

_CODINGS: Final = (b"", b"identity")
_COMPRESSED: Final = error_response(
    415,
    "compressed bodies are not supported; send the body uncompressed",
    ((b"accept-encoding", b"identity"),),  # RFC 9110, 15.5.16
)


class App:
    """Handles requests.

    Attributes:
        repository: the models.
        limits: of the server.
        traffic: counters of the server.
        logger: of the server.
        auth: authenticates requests.
        background_tasks: run slow handlers.
        routes: handlers by method, by path.
    """

    def __init__(
        self, repository: Repository, limits: Limits, traffic: Traffic, logger: Logger, auth: Auth
    ) -> None:
        """Assemble the handlers; see ``build_app``."""
        self.repository, self.limits = repository, limits
        self.traffic, self.logger, self.auth = traffic, logger, auth
        self.background_tasks = BackgroundTasks(logger)
        self._tracer = Tracer(logger)
        self.routes: Routes = {
            **V2Handlers(repository, limits, traffic).routes(),
            **UiHandlers(repository, limits, auth, self.background_tasks).routes(),
            **AdminHandlers(repository, traffic, self.background_tasks).routes(),
        }
        self._router = Router(self.routes)

    def handle(self, request: Request, reply: Reply) -> None:
        """Handle a request; ``reply`` is called once with the response, now or later."""
        if self._tracer.applies_to(request):
            reply = self._tracer.wrap(request, reply)
        if rejected := self.auth.check(request):
            reply(rejected)
            return
        found = self._router.find(request)
        if isinstance(found, Response):
            reply(found)
            return
        if request.headers.get(b"content-encoding", b"").lower() not in _CODINGS:
            reply(_COMPRESSED)
            return
        handler, call = found
        try:
            handler(call, reply)
        except OnnxferryError as exc:
            reply(exception_response(exc))


def build_app(
    repository: Repository,
    limits: Limits,
    traffic: Traffic,
    logger: Logger,
    auth: Auth | None = None,
) -> App:
    """Build the application; without ``auth`` every request is admitted."""
    return App(repository, limits, traffic, logger, auth or Auth(None))
