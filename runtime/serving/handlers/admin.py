"""Handlers for operators: metrics and the model repository extension."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.errors import RequestError
from runtime.serving.http.messages import Response, json_response
from runtime.serving.observability.metrics import MEDIA_TYPE, collect, render
from runtime.serving.v2.messages import parse_repository_params

if TYPE_CHECKING:
    from runtime.serving.background_tasks import BackgroundTasks
    from runtime.serving.http.messages import Reply
    from runtime.serving.models.repository import Repository
    from runtime.serving.observability.traffic import Traffic
    from runtime.serving.routing import Call, Routes


class AdminHandlers:
    """Metrics, and listing, loading and unloading of models."""

    def __init__(
        self, repository: Repository, traffic: Traffic, background_tasks: BackgroundTasks
    ) -> None:
        """Handle requests with these; the server's start time is now."""
        self._repository, self._traffic = repository, traffic
        self._background_tasks = background_tasks
        self._started = time.time()

    def routes(self) -> Routes:
        """Return the handlers by method, by path."""
        return {
            "/metrics": {"GET": self._metrics},
            "/v2/repository/index": {"POST": self._index},
            "/v2/repository/models/*/load": {"POST": self._load},
            "/v2/repository/models/*/unload": {"POST": self._unload},
        }

    def _metrics(self, _call: Call, reply: Reply) -> None:
        text = render(collect(self._traffic, self._repository, self._started))
        reply(Response(200, (text.encode(),), MEDIA_TYPE))

    def _index(self, call: Call, reply: Reply) -> None:
        params = parse_repository_params(call.request.body)
        entries = self._repository.index()
        if params.ready:
            entries = [entry for entry in entries if entry["state"] == "READY"]
        reply(json_response(entries))

    def _load(self, call: Call, reply: Reply) -> None:
        if parse_repository_params(call.request.body).parameters:
            raise RequestError("a bundle is loaded from its folder; leave out parameters")

        async def load() -> Response:
            await self._repository.load(call.name)
            return json_response({})

        self._background_tasks.start(load, reply)

    def _unload(self, call: Call, reply: Reply) -> None:
        parse_repository_params(call.request.body)
        self._repository.unload(call.name)
        reply(json_response({}))
