"""The application: every address of the server and what answers it.

A factory, so that tests call it without a socket: ``build_app(...)`` gives an ``App`` whose
``handle`` takes a request and a function to reply with. No errors leave it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.errors import OnnxferryError, OversizeError, RequestError
from runtime.serving.access.gate import Gate
from runtime.serving.http.message import Response, json_response, refusal
from runtime.serving.inference import infer
from runtime.serving.observing.metrics import KIND, write_metrics
from runtime.serving.observing.tracing import Tracer
from runtime.serving.protocol.messages import decode
from runtime.serving.refusing import refuse
from runtime.serving.routing import Call, Router, Routes
from runtime.serving.rows import answer_rows, parse_query

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runtime.serving.http.message import Reply, Request
    from runtime.serving.limits import Limits
    from runtime.serving.models.repository import Repository
    from runtime.serving.observing.log import Log
    from runtime.serving.observing.traffic import Traffic

EXTENSIONS: Final = ("binary_tensor_data", "model_repository", "statistics")
_LIVE: Final = json_response({"live": True})
_UNAVAILABLE: Final = 503
_MOST_WORDS: Final = 64 * 1024  # bytes of a body that is no data


class App:
    """Answers requests.

    Attributes:
        repository: the models.
        limits: of the server.
        traffic: what goes through the server.
        log: what it tells.
        gate: lets requests in.
        started: seconds since the epoch.
        routes: handlers by method, by address.
    """

    def __init__(
        self, repository: Repository, limits: Limits, traffic: Traffic, log: Log, gate: Gate
    ) -> None:
        """Take the models; see ``build_app``."""
        self.repository, self.limits = repository, limits
        self.traffic, self.log, self.gate = traffic, log, gate
        self.started = time.time()
        self._tracer = Tracer(log)
        self.routes = self._routes()
        self._router = Router(self.routes)
        self._tasks: set[asyncio.Task[None]] = set()

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
        handler, call = found
        try:
            handler(call, reply)
        except OnnxferryError as exc:
            reply(refuse(exc))

    def _routes(self) -> Routes:
        return {
            "/": {"GET": self._page},
            "/cards": {"GET": self._cards},
            "/metrics": {"GET": self._metrics},
            "/openapi.json": {"GET": self._openapi},
            "/predict": {"POST": self._predict},
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._ready},
            "/v2/models/*": {"GET": self._model},
            "/v2/models/*/ready": {"GET": self._model_ready},
            "/v2/models/*/infer": {"POST": self._infer},
            "/v2/models/*/stats": {"GET": self._statistics},
            "/v2/models/stats": {"GET": self._all_statistics},
            "/v2/repository/index": {"POST": self._index},
            "/v2/repository/models/*/load": {"POST": self._load},
            "/v2/repository/models/*/unload": {"POST": self._unload},
        }

    # ---- The protocol ------------------------------------------------------------------------

    def _infer(self, call: Call, reply: Reply) -> None:
        model = self.repository.find(call.name, call.version)
        infer(model, call.request, self.limits, reply)

    def _server(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version  # 40 ms to load: not before the first answer

        reply(
            json_response(
                {"name": "onnxferry", "version": version("onnxferry"), "extensions": EXTENSIONS}
            )
        )

    def _live(self, _call: Call, reply: Reply) -> None:
        reply(_LIVE)

    def _ready(self, _call: Call, reply: Reply) -> None:
        slots, draining = self.repository.slots, self.traffic.draining
        reasons = {name: slot.reason for name, slot in slots.items() if slot.reason}
        is_ready = not draining and all(slot.model for slot in slots.values())
        values: dict[str, object] = {"ready": is_ready}
        if reasons:
            values["reasons"] = reasons
        if not is_ready:
            values["error"] = "the server is ending" if draining else "a model is not loaded"
        reply(json_response(values, 200 if is_ready else _UNAVAILABLE))

    def _model(self, call: Call, reply: Reply) -> None:
        reply(json_response(self.repository.find(call.name, call.version).metadata()))

    def _model_ready(self, call: Call, reply: Reply) -> None:
        self.repository.find(call.name, call.version)
        reply(json_response({"name": call.name, "ready": True}))

    def _statistics(self, call: Call, reply: Reply) -> None:
        model = self.repository.find(call.name, call.version)
        reply(json_response({"model_stats": [model.statistics.values(model.name, model.version)]}))

    def _all_statistics(self, _call: Call, reply: Reply) -> None:
        models = self.repository.models()
        found = [one.statistics.values(one.name, one.version) for one in models]
        reply(json_response({"model_stats": found}))

    def _metrics(self, _call: Call, reply: Reply) -> None:
        text = write_metrics(self.traffic, self.repository, self.started)
        reply(Response(200, (text.encode(),), KIND))

    # ---- For people --------------------------------------------------------------------------

    def _openapi(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version

        from runtime.serving.openapi.document import describe

        names = list(self.repository.slots)
        reply(
            json_response(
                describe(version("onnxferry"), names, has_keys=self.gate.keys is not None)
            )
        )

    def _page(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.page.document import page

        reply(page())

    def _cards(self, _call: Call, reply: Reply) -> None:
        from runtime.serving.page.cards import card_of

        reply(json_response([card_of(model) for model in self.repository.models()]))

    def _predict(self, call: Call, reply: Reply) -> None:
        asked = parse_query(call.query)
        model = self.repository.find(asked.model or self.repository.only())
        request, limits = call.request, self.limits

        async def predict() -> Response:
            response, scored = await asyncio.to_thread(
                answer_rows, model.predictor, request, asked, limits
            )
            if scored:
                model.count_table(scored, time.perf_counter_ns() - request.arrived)
            return response

        self.later(predict, reply)

    # ---- The model repository ----------------------------------------------------------------

    def _index(self, call: Call, reply: Reply) -> None:
        wants = _read_wish(call.request.body)
        entries = self.repository.index()
        if wants.ready:
            entries = [entry for entry in entries if entry["state"] == "READY"]
        reply(json_response(entries))

    def _load(self, call: Call, reply: Reply) -> None:
        if _read_wish(call.request.body).parameters:
            raise RequestError("a bundle is loaded as it lies in its folder; leave out parameters")

        async def load() -> Response:
            await self.repository.load(call.name)
            return json_response({})

        self.later(load, reply)

    def _unload(self, call: Call, reply: Reply) -> None:
        _read_wish(call.request.body)
        self.repository.unload(call.name)
        reply(json_response({}))

    def later(self, answer: Callable[[], Coroutine[None, None, Response]], reply: Reply) -> None:
        """Reply when something slow is done, while other requests are answered.

        Args:
            answer: makes the answer.
            reply: told of it.
        """

        async def run() -> None:
            try:
                reply(await answer())
            except OnnxferryError as exc:
                reply(refuse(exc))
            except Exception as exc:  # noqa: BLE001 - a bug must be answered, too
                self.log.tell_bug(exc)
                reply(refusal(500, "a bug of the server; its log says more"))

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._tasks.discard)


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


class _Wish(msgspec.Struct):
    """What may be said to the model repository."""

    ready: bool = False
    parameters: dict[str, object] | None = None


_WISH: Final = msgspec.json.Decoder(_Wish)


def _read_wish(body: bytes | bytearray) -> _Wish:
    """Read a body that is a JSON object, or nothing."""
    if len(body) > _MOST_WORDS:
        raise OversizeError(f"the body is larger than the {_MOST_WORDS} bytes that suffice here")
    wish: _Wish = decode(_WISH, body, "the body") if body else _Wish()
    return wish
