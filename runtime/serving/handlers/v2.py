"""Handlers of the Open Inference Protocol: health, metadata, inference and statistics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from runtime.errors import BodyError, OnnxferryError
from runtime.serving.http.messages import exception_response, json_response
from runtime.serving.v2.inputs import LENGTH_FIELD, NO_JSON, bind_inputs, raw_request, split_body
from runtime.serving.v2.messages import parse_request
from runtime.serving.v2.outputs import encode_response, parse_requested_outputs

if TYPE_CHECKING:
    from runtime.serving.http.messages import Reply, Request, Response
    from runtime.serving.models.repository import Repository
    from runtime.serving.models.served import ServedModel
    from runtime.serving.observability.traffic import Traffic
    from runtime.serving.routing import Call, Routes
    from runtime.serving.settings import Limits
    from runtime.serving.v2.outputs import RequestedOutputs
    from runtime.serving.v2.tensors import Numbers
    from runtime.session import Outputs

EXTENSIONS: Final = ("binary_tensor_data", "model_repository", "statistics")
_LIVE: Final = json_response({"live": True})
_UNAVAILABLE: Final = 503


class V2Handlers:
    """The protocol's endpoints."""

    def __init__(self, repository: Repository, limits: Limits, traffic: Traffic) -> None:
        """Handle requests with these."""
        self._repository, self._limits, self._traffic = repository, limits, traffic

    def routes(self) -> Routes:
        """Return the handlers by method, by path."""
        return {
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._ready},
            "/v2/models/*": {"GET": self._model},
            "/v2/models/*/ready": {"GET": self._model_ready},
            "/v2/models/*/infer": {"POST": self._infer},
            "/v2/models/*/stats": {"GET": self._statistics},
            "/v2/models/stats": {"GET": self._all_statistics},
        }

    def _infer(self, call: Call, reply: Reply) -> None:
        model = self._repository.find(call.name, call.version)
        infer(model, call.request, self._limits, reply)

    def _server(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version  # 40 ms to load: not at startup

        reply(
            json_response(
                {"name": "onnxferry", "version": version("onnxferry"), "extensions": EXTENSIONS}
            )
        )

    def _live(self, _call: Call, reply: Reply) -> None:
        reply(_LIVE)

    def _ready(self, _call: Call, reply: Reply) -> None:
        slots, draining = self._repository.slots, self._traffic.draining
        reasons = {name: slot.reason for name, slot in slots.items() if slot.reason}
        is_ready = not draining and self._repository.is_ready
        values: dict[str, object] = {"ready": is_ready}
        if reasons:
            values["reasons"] = reasons
        if not is_ready:
            values["error"] = "the server is shutting down" if draining else "a model is not loaded"
        reply(json_response(values) if is_ready else _not_ready(values))

    def _model(self, call: Call, reply: Reply) -> None:
        reply(json_response(self._repository.find(call.name, call.version).metadata()))

    def _model_ready(self, call: Call, reply: Reply) -> None:
        self._repository.find(call.name, call.version)
        reply(json_response({"name": call.name, "ready": True}))

    def _statistics(self, call: Call, reply: Reply) -> None:
        model = self._repository.find(call.name, call.version)
        reply(json_response({"model_stats": [model.statistics.values(model.name, model.version)]}))

    def _all_statistics(self, _call: Call, reply: Reply) -> None:
        models = self._repository.models()
        entries = [one.statistics.values(one.name, one.version) for one in models]
        reply(json_response({"model_stats": entries}))


def _not_ready(values: dict[str, object]) -> Response:
    return replace(json_response(values, _UNAVAILABLE), reason="not ready")


def infer(model: ServedModel, request: Request, limits: Limits, reply: Reply) -> None:
    """Run an inference request in the next micro-batch, and reply."""
    try:
        features, requested = _decode(model, request, limits)
    except OnnxferryError as exc:
        model.statistics.count_failure(time.perf_counter_ns() - request.received_ns)
        reply(exception_response(_with_example(exc, model)))
        return

    def done(result: Outputs | OnnxferryError) -> None:
        if isinstance(result, OnnxferryError):
            reply(exception_response(result))
        else:
            reply(encode_response(requested, result, model.identity))

    model.submit(features, request.received_ns, done)
    if model.batcher.depth >= limits.in_flight:  # before further requests are read and rejected
        model.batcher.flush()


def _with_example(error: OnnxferryError, model: ServedModel) -> OnnxferryError:
    if not isinstance(error, BodyError):
        return error
    from runtime.serving.examples import advise_tensors

    return BodyError(f"{error}; {advise_tensors(model.predictor.schema)}")


def _decode(
    model: ServedModel, request: Request, limits: Limits
) -> tuple[Numbers, RequestedOutputs]:
    columns = model.columns
    headers = request.headers
    length = headers.get(LENGTH_FIELD)
    text, binary = split_body(request.body, length)
    message = (
        raw_request(request, columns)
        if length == NO_JSON
        else parse_request(
            text,
            max_tensors=columns.schema.n_features,
            max_strings=len(columns.string_columns) * limits.rows,
        )
    )
    requested = parse_requested_outputs(message)
    return bind_inputs(message, binary, columns, limits.rows), requested
