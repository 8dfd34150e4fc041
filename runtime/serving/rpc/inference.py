"""Inference by gRPC: its requests join the batches of HTTP and are counted with them.

In: a message's bytes. Out: a ``ModelInferResponse``, or the refusal that HTTP would give.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import OnnxferryError, OverloadError
from runtime.serving.http.message import Response, refusal
from runtime.serving.inference import submit
from runtime.serving.protocol.inputs import bind_inputs
from runtime.serving.protocol.outputs import parse_wishes
from runtime.serving.refusing import refuse
from runtime.serving.rpc.reading import as_request, parse_request
from runtime.serving.rpc.weighing import Allowance
from runtime.serving.rpc.writing import write_answer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runtime.serving.app import App
    from runtime.serving.models.served import ServedModel
    from runtime.serving.protocol.tensors import Numbers
    from runtime.serving.rpc.messages import Message
    from runtime.session import Outputs

_FIELDS_A_TENSOR: Final = 16  # name, datatype, shape, parameters; as contents or as bytes
_FIELDS_BESIDE: Final = 64  # of a request: names, parameters, outputs
_NOT_READY: Final = 503
_OK: Final = 200

Sent = Any  # a message, or the error that came of reading it


class Inference:
    """Answers requests with an application's models."""

    def __init__(self, app: App) -> None:
        """Take the application.

        Args:
            app: its models, limits and counts.
        """
        self._app = app
        self._free = asyncio.Event()  # answers may go
        self._free.set()

    def hold(self) -> None:
        """Keep answers back, so that clients who wait for one send no more."""
        self._free.clear()

    def release(self) -> None:
        """Let the answers go."""
        self._free.set()

    def read(self, data: bytes) -> Sent:
        """Read a request; an error is handed on, to be answered in our own words."""
        allowed = _allow(self._app.repository.models(), self._app.limits.rows)
        try:
            return parse_request(data, allowed)
        except OnnxferryError as exc:
            return exc.with_traceback(None)  # which would hold the message

    async def answer(self, sent: Sent) -> Message | Response:
        """Answer a request, and count it as HTTP's are counted."""
        traffic, most = self._app.traffic, self._app.limits.in_flight
        if traffic.let_in(most):
            try:
                answer: Message | Response = await self._answer_or_refuse(sent)
            finally:
                traffic.in_flight -= 1
        else:
            traffic.count_refusal(_NOT_READY)
            answer = refuse(OverloadError(f"{most} requests are in flight; try again in a second"))
        await self._free.wait()
        traffic.count_answer(answer.status if isinstance(answer, Response) else _OK)
        return answer

    async def _answer_or_refuse(self, sent: Sent) -> Message | Response:
        if isinstance(sent, OnnxferryError):
            return refuse(sent)
        try:
            return await self._compute(sent)
        except OnnxferryError as exc:
            return refuse(exc)
        except Exception as exc:  # noqa: BLE001 - a bug must be answered, too
            self._app.log.tell_bug(exc)
            return refusal(500, "a bug of the server; its log says more")

    async def _compute(self, sent: Sent) -> Message | Response:
        arrived = time.perf_counter_ns()
        model = self._app.repository.find(sent.model_name, sent.model_version or None)
        try:
            most_rows = self._app.limits.rows
            request, binary = as_request(sent, most_rows)
            wanted = parse_wishes(request)
            features = bind_inputs(request, binary, model.columns, most_rows)
        except OnnxferryError:
            model.statistics.count_failure(time.perf_counter_ns() - arrived)
            raise
        outputs = await _run(model, features, arrived)
        if isinstance(outputs, OnnxferryError):
            return refuse(outputs)
        return write_answer(wanted, outputs, model.identity, raw=bool(sent.raw_input_contents))


def _allow(models: Iterable[ServedModel], rows: int) -> Allowance:
    """Say what a right request to any of the models has at most."""
    columns = [one.columns for one in models]
    tensors = max((one.schema.n_features for one in columns), default=1)
    width = max((one.schema.n_inputs for one in columns), default=1)
    texts = max((len(one.texts) for one in columns), default=0)
    fields = _FIELDS_A_TENSOR * tensors + _FIELDS_BESIDE
    return Allowance(fields, width * rows, max(texts, 1) * rows)


async def _run(model: ServedModel, features: Numbers, arrived: int) -> Outputs | OnnxferryError:
    """Have rows answered with the others of the tick.

    An error is given, not raised: with frames in it, it and the future would hold each other.
    """
    future: asyncio.Future[Outputs | OnnxferryError] = asyncio.get_running_loop().create_future()

    def done(answer: Outputs | OnnxferryError) -> None:
        if isinstance(answer, OnnxferryError):
            answer = answer.with_traceback(None)
        if not future.done():  # else the client has gone
            future.set_result(answer)

    submit(model, features, arrived, done)
    return await future
