"""Inference over gRPC: requests join the batches of HTTP and are counted with them."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import OnnxferryError, OverloadError
from runtime.serving.grpc.codec import encode_outputs, parse_message, to_request
from runtime.serving.grpc.message_limits import MessageLimits
from runtime.serving.http.messages import Response, exception_response, internal_error_response
from runtime.serving.v2.inputs import bind_inputs
from runtime.serving.v2.outputs import parse_requested_outputs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.serving.app import App
    from runtime.serving.grpc.codec import Message
    from runtime.serving.models.served import ServedModel
    from runtime.serving.v2.tensors import Numbers
    from runtime.session import Outputs

_FIELDS_PER_TENSOR: Final = 16  # name, datatype, shape, parameters; contents or raw bytes
_OTHER_FIELDS: Final = 64  # names, parameters and outputs of a request
_UNAVAILABLE: Final = 503
_OK: Final = 200

Received = Any  # a message, or the error raised by parsing it


class InferenceHandler:
    """Runs inference requests on an application's models."""

    def __init__(self, app: App) -> None:
        """Run requests on the models of ``app``."""
        self._app = app
        self._resumed = asyncio.Event()
        self._resumed.set()

    def pause_responses(self) -> None:
        """Hold responses back, so that clients that await them send no further requests."""
        self._resumed.clear()

    def resume_responses(self) -> None:
        """Send the responses held back."""
        self._resumed.set()

    def parse(self, data: bytes) -> Received:
        """Parse a request; an error is returned, so that its message reaches the client."""
        limits = _message_limits(self._app.repository.models(), self._app.limits.rows)
        try:
            return parse_message(data, limits)
        except OnnxferryError as exc:
            return exc.with_traceback(None)  # which would keep the message alive

    async def respond(self, received: Received) -> Message | Response:
        """Run and count a request; return HTTP's error response where it fails."""
        traffic, in_flight = self._app.traffic, self._app.limits.in_flight
        if traffic.admit(in_flight):
            try:
                response: Message | Response = await self._run_safely(received)
            finally:
                traffic.in_flight -= 1
        else:
            traffic.count_rejected(_UNAVAILABLE)
            error = OverloadError(f"{in_flight} requests are in flight; try again in a second")
            response = exception_response(error)
        await self._resumed.wait()
        if isinstance(response, Response):
            traffic.count_response(response.status)
            self._app.failures.record(response)
        else:
            traffic.count_response(_OK)
        return response

    async def _run_safely(self, received: Received) -> Message | Response:
        if isinstance(received, OnnxferryError):
            return exception_response(received)
        try:
            return await self._run(received)
        except OnnxferryError as exc:
            return exception_response(exc)
        except Exception as exc:  # noqa: BLE001 - a bug still gets a response
            self._app.logger.internal_error(exc)
            return internal_error_response()

    async def _run(self, sent: Message) -> Message | Response:
        received_ns = time.perf_counter_ns()
        model = self._app.repository.find(sent.model_name, sent.model_version or None)
        try:
            max_rows = self._app.limits.rows
            request, binary = to_request(sent, max_rows)
            requested = parse_requested_outputs(request)
            features = bind_inputs(request, binary, model.columns, max_rows)
        except OnnxferryError:
            model.statistics.count_failure(time.perf_counter_ns() - received_ns)
            raise
        outputs = await _infer(model, features, received_ns)
        if isinstance(outputs, OnnxferryError):
            return exception_response(outputs)
        return encode_outputs(requested, outputs, model.identity, raw=bool(sent.raw_input_contents))


def _message_limits(models: Iterable[ServedModel], max_rows: int) -> MessageLimits:
    """Return limits that every valid request to one of the models is within."""
    columns = [one.columns for one in models]
    tensors = max((one.schema.n_features for one in columns), default=1)
    width = max((one.schema.n_inputs for one in columns), default=1)
    strings = max((len(one.string_columns) for one in columns), default=0)
    fields = _FIELDS_PER_TENSOR * tensors + _OTHER_FIELDS
    return MessageLimits(fields, width * max_rows, max(strings, 1) * max_rows)


async def _infer(
    model: ServedModel, features: Numbers, received_ns: int
) -> Outputs | OnnxferryError:
    """Run rows in the next batch.

    An error is returned, not raised: its traceback and the future would reference each other.
    """
    future: asyncio.Future[Outputs | OnnxferryError] = asyncio.get_running_loop().create_future()

    def done(outputs: Outputs | OnnxferryError) -> None:
        if isinstance(outputs, OnnxferryError):
            outputs = outputs.with_traceback(None)
        if not future.done():  # else the client has disconnected
            future.set_result(outputs)

    model.submit(features, received_ns, done)
    return await future
