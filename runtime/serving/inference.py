"""Answer an inference request: read, join the tick's batch, write.

In: a request's body. Out: its answer, at the end of the tick. gRPC reads and writes its own
messages and shares everything between.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from runtime.errors import OnnxferryError
from runtime.serving.protocol.binary import LENGTH_FIELD, NO_JSON, raw_request, split_body
from runtime.serving.protocol.inputs import bind_inputs
from runtime.serving.protocol.messages import parse_request
from runtime.serving.protocol.outputs import encode_answer, parse_wishes
from runtime.serving.refusing import refuse

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.serving.http.message import Reply, Request
    from runtime.serving.limits import Limits
    from runtime.serving.models.calling import Batched
    from runtime.serving.models.served import ServedModel
    from runtime.serving.protocol.outputs import Wanted
    from runtime.serving.protocol.tensors import Numbers
    from runtime.session import Outputs


def infer(model: ServedModel, request: Request, limits: Limits, reply: Reply) -> None:
    """Answer a request of the Open Inference Protocol.

    Args:
        model: that is asked.
        request: with the protocol's body.
        limits: of the server.
        reply: told of the answer.
    """
    try:
        features, wanted = _read(model, request, limits)
    except OnnxferryError as exc:
        model.statistics.count_failure(time.perf_counter_ns() - request.arrived)
        reply(refuse(exc))
        return

    def done(answer: Outputs | OnnxferryError) -> None:
        if isinstance(answer, OnnxferryError):
            reply(refuse(answer))
        else:
            reply(encode_answer(wanted, answer, model.identity))

    submit(model, features, request.arrived, done)
    if model.batch.depth >= limits.in_flight:  # they do not wait for those who are turned away
        model.batch.run()


def submit(
    model: ServedModel,
    features: Numbers,
    arrived: int,
    done: Callable[[Outputs | OnnxferryError], None],
) -> None:
    """Have rows answered at the end of the tick, and count them.

    Args:
        model: that is asked.
        features: ``(rows, n_features)``.
        arrived: nanoseconds of ``time.perf_counter_ns`` when the request was there.
        done: told of the answer.
    """
    statistics = model.statistics

    def counted(answer: Batched | OnnxferryError) -> None:
        if isinstance(answer, OnnxferryError):
            done(answer)
            statistics.count_failure(time.perf_counter_ns() - arrived)
            return
        done(answer.outputs)
        statistics.count_answer(
            len(features), answer.started - arrived, answer.took, time.perf_counter_ns() - arrived
        )

    model.batch.submit(features, counted)


def _read(model: ServedModel, request: Request, limits: Limits) -> tuple[Numbers, Wanted]:
    columns = model.columns
    headers = request.headers
    length = headers.get(LENGTH_FIELD)
    text, binary = split_body(request.body, length)
    message = (
        raw_request(request, columns)
        if length == NO_JSON
        else parse_request(
            text,
            most_tensors=columns.schema.n_features,
            most_texts=len(columns.texts) * limits.rows,
        )
    )
    wanted = parse_wishes(message)
    return bind_inputs(message, binary, columns, limits.rows), wanted
