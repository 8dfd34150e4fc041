"""The addresses for operators: metrics, and the model repository with loading and unloading.

In: calls. Out: answers, now or when a bundle is loaded. Raises ``RequestError`` for a wish that is
not understood, ``UnknownNameError`` for a model that is not there.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.errors import RequestError
from runtime.serving.http.message import Response, json_response
from runtime.serving.observing.metrics import KIND, write_metrics
from runtime.serving.protocol.wishes import parse_repository_wish

if TYPE_CHECKING:
    from runtime.serving.http.message import Reply
    from runtime.serving.later import Later
    from runtime.serving.models.repository import Repository
    from runtime.serving.observing.traffic import Traffic
    from runtime.serving.routing import Call, Routes


class Operators:
    """Answers who runs the server."""

    def __init__(self, repository: Repository, traffic: Traffic, later: Later) -> None:
        """Take what is answered with; the server's time begins here.

        Args:
            repository: the models.
            traffic: what goes through the server.
            later: replies when something slow is done.
        """
        self._repository, self._traffic, self._later = repository, traffic, later
        self._started = time.time()

    def routes(self) -> Routes:
        """Give the handlers by method, by address."""
        return {
            "/metrics": {"GET": self._metrics},
            "/v2/repository/index": {"POST": self._index},
            "/v2/repository/models/*/load": {"POST": self._load},
            "/v2/repository/models/*/unload": {"POST": self._unload},
        }

    def _metrics(self, _call: Call, reply: Reply) -> None:
        text = write_metrics(self._traffic, self._repository, self._started)
        reply(Response(200, (text.encode(),), KIND))

    def _index(self, call: Call, reply: Reply) -> None:
        wants = parse_repository_wish(call.request.body)
        entries = self._repository.index()
        if wants.ready:
            entries = [entry for entry in entries if entry["state"] == "READY"]
        reply(json_response(entries))

    def _load(self, call: Call, reply: Reply) -> None:
        if parse_repository_wish(call.request.body).parameters:
            raise RequestError("a bundle is loaded as it lies in its folder; leave out parameters")

        async def load() -> Response:
            await self._repository.load(call.name)
            return json_response({})

        self._later(load, reply)

    def _unload(self, call: Call, reply: Reply) -> None:
        parse_repository_wish(call.request.body)
        self._repository.unload(call.name)
        reply(json_response({}))
