"""Handlers of the web pages, the model cards, ``/predict`` and the OpenAPI document."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from runtime.serving.handlers.predict import parse_predict_params, predict_rows
from runtime.serving.http.messages import Response, json_response

if TYPE_CHECKING:
    from runtime.serving.auth import Auth
    from runtime.serving.background_tasks import BackgroundTasks
    from runtime.serving.http.messages import Reply
    from runtime.serving.models.repository import Repository
    from runtime.serving.routing import Call, Routes
    from runtime.serving.settings import Limits

# The page's URLs are relative to /docs.
_TO_DOCS: Final = Response(308, (), b"text/plain", ((b"location", b"../docs"),))


class UiHandlers:
    """The web pages and the endpoints it uses."""

    def __init__(
        self,
        repository: Repository,
        limits: Limits,
        auth: Auth,
        background_tasks: BackgroundTasks,
    ) -> None:
        """Handle requests with these."""
        self._repository, self._limits, self._auth = repository, limits, auth
        self._background_tasks = background_tasks

    def routes(self) -> Routes:
        """Return the handlers by method, by path."""
        return {
            "/": {"GET": self._page},
            "/docs": {"GET": self._docs},
            "/cards": {"GET": self._cards},
            "/openapi.json": {"GET": self._openapi},
            "/predict": {"POST": self._predict},
        }

    def _page(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.ui.page import render_page

        reply(render_page())

    def _docs(self, call: Call, reply: Reply) -> None:
        from runtime.serving.ui.page import render_page

        is_folder = call.request.target.partition("?")[0].endswith("/")
        reply(_TO_DOCS if is_folder else render_page("docs"))

    def _cards(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.ui.page import model_card

        reply(json_response([model_card(model) for model in self._repository.models()]))

    def _openapi(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version

        from runtime.serving.openapi.document import build_document

        repository, has_keys = self._repository, self._auth.keys is not None
        loaded = {one.name: one.predictor for one in repository.models()}
        names = list(repository.slots)
        document = build_document(version("onnxferry"), names, loaded, has_keys=has_keys)
        reply(json_response(document))

    def _predict(self, call: Call, reply: Reply) -> None:
        params = parse_predict_params(call.query)
        model = self._repository.find(params.model or self._repository.only())
        request, limits = call.request, self._limits

        async def predict() -> Response:
            started = time.perf_counter_ns()
            response, scored = await asyncio.to_thread(
                predict_rows, model.predictor, request, params, limits
            )
            if scored:
                model.count_table(scored, request.received_ns, started)
            return response

        self._background_tasks.start(predict, reply)
