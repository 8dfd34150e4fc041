"""The addresses for people: the page and its cards, ``/predict``, the description of all of it.

In: calls. Out: answers, now or when a thread has made them. Raises ``RequestError`` for a query
that is not understood, ``UnknownNameError`` for a model that is not there.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from runtime.serving.asked import parse_query
from runtime.serving.http.message import Response, json_response
from runtime.serving.rows import answer_rows

if TYPE_CHECKING:
    from runtime.serving.access.gate import Gate
    from runtime.serving.http.message import Reply
    from runtime.serving.later import Later
    from runtime.serving.limits import Limits
    from runtime.serving.models.repository import Repository
    from runtime.serving.routing import Call, Routes


class People:
    """Answers people, and what they look at the server with."""

    def __init__(self, repository: Repository, limits: Limits, gate: Gate, later: Later) -> None:
        """Take what is answered with.

        Args:
            repository: the models.
            limits: of the server.
            gate: tells whether there are keys.
            later: replies when something slow is done.
        """
        self._repository, self._limits, self._gate = repository, limits, gate
        self._later = later

    def routes(self) -> Routes:
        """Give the handlers by method, by address."""
        return {
            "/": {"GET": self._page},
            "/cards": {"GET": self._cards},
            "/openapi.json": {"GET": self._openapi},
            "/predict": {"POST": self._predict},
        }

    def _page(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.page.document import page

        reply(page())

    def _cards(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.page.cards import card_of

        reply(json_response([card_of(model) for model in self._repository.models()]))

    def _openapi(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version

        from runtime.serving.openapi.document import describe

        names, has_keys = list(self._repository.slots), self._gate.keys is not None
        reply(json_response(describe(version("onnxferry"), names, has_keys=has_keys)))

    def _predict(self, call: Call, reply: Reply) -> None:
        asked = parse_query(call.query)
        model = self._repository.find(asked.model or self._repository.only())
        request, limits = call.request, self._limits

        async def predict() -> Response:
            response, scored = await asyncio.to_thread(
                answer_rows, model.predictor, request, asked, limits
            )
            if scored:
                model.count_table(scored, time.perf_counter_ns() - request.arrived)
            return response

        self._later(predict, reply)
