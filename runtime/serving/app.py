"""The application: who lets a request in, which address it goes to, and what answers it there.

A factory, so that tests call it without a socket: ``build_app(...)`` gives an ``App`` whose
``handle`` takes a request and a function to reply with. No errors leave it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import OnnxferryError
from runtime.serving.access.gate import Gate
from runtime.serving.addresses.operators import Operators
from runtime.serving.addresses.people import People
from runtime.serving.addresses.protocol import Protocol
from runtime.serving.http.message import Response, refusal
from runtime.serving.later import Later
from runtime.serving.observing.tracing import Tracer
from runtime.serving.refusing import refuse
from runtime.serving.routing import Router

if TYPE_CHECKING:
    from runtime.serving.http.message import Reply, Request
    from runtime.serving.limits import Limits
    from runtime.serving.models.repository import Repository
    from runtime.serving.observing.log import Log
    from runtime.serving.observing.traffic import Traffic
    from runtime.serving.routing import Routes

_CODINGS: Final = (b"", b"identity")
_COMPRESSED: Final = refusal(
    415,
    "compressed bodies are not read; send the body as it is",
    ((b"accept-encoding", b"identity"),),  # RFC 9110, 15.5.16
)


class App:
    """Answers requests.

    Attributes:
        repository: the models.
        limits: of the server.
        traffic: what goes through the server.
        log: what it tells.
        gate: lets requests in.
        later: replies when something slow is done.
        routes: handlers by method, by address.
    """

    def __init__(
        self, repository: Repository, limits: Limits, traffic: Traffic, log: Log, gate: Gate
    ) -> None:
        """Take the models; see ``build_app``."""
        self.repository, self.limits = repository, limits
        self.traffic, self.log, self.gate = traffic, log, gate
        self.later = Later(log)
        self._tracer = Tracer(log)
        self.routes: Routes = {
            **Protocol(repository, limits, traffic).routes(),
            **People(repository, limits, gate, self.later).routes(),
            **Operators(repository, traffic, self.later).routes(),
        }
        self._router = Router(self.routes)

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request.

        Args:
            request: whole.
            reply: told of the answer, now or later.
        """
        if self._tracer.concerns(request):
            reply = self._tracer.follow(request, reply)
        if refused := self.gate.refuse(request):
            reply(refused)
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
            reply(refuse(exc))


def build_app(
    repository: Repository, limits: Limits, traffic: Traffic, log: Log, gate: Gate | None = None
) -> App:
    """Make the application.

    Args:
        repository: the models, opened.
        limits: of the server.
        traffic: what goes through the server.
        log: what it tells.
        gate: lets requests in; all of them where it is None.

    Returns:
        What answers requests.
    """
    return App(repository, limits, traffic, log, gate or Gate(None))
