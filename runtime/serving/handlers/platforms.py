"""The endpoints that SageMaker and Vertex AI ask of a container, by the handlers of our own.

SageMaker: ``/ping`` and ``/invocations``. Vertex AI: the routes in ``AIP_HEALTH_ROUTE`` and
``AIP_PREDICT_ROUTE``; its predictions are ``{"instances": [row, …], "parameters": {…}}`` and
``{"predictions": [row, …]}``, and another body, of rawPredict, is one of ``/predict``.
Sources: AWS, "Custom Inference Code with Hosting Services"; Google Cloud, "Custom container
requirements for inference".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

import msgspec
from msgspec.structs import replace

from runtime.errors import RequestError, UsageError
from runtime.serving.handlers.predict import parse_predict_params
from runtime.serving.http.messages import JSON, Response
from runtime.serving.v2.messages import decode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.serving.http.messages import Reply
    from runtime.serving.routing import Call, Handler, Routes

HEALTH_ROUTE: Final = "AIP_HEALTH_ROUTE"
PREDICT_ROUTE: Final = "AIP_PREDICT_ROUTE"
_OK: Final = 200
_BOM: Final = b"\xef\xbb\xbf"
_OBJECT: Final = re.compile(b"(?:" + _BOM + rb")?\s*\{")


class _Instances(msgspec.Struct):
    instances: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] | None = None


_DECODER: Final = msgspec.json.Decoder(_Instances)


def platform_routes(routes: Routes, environment: Mapping[str, str]) -> Routes:
    """Return the routes of the platforms, which lead to handlers in ``routes``.

    Raises ``UsageError`` when a variable of Vertex AI holds no path.
    """
    ready, predict = routes["/v2/health/ready"]["GET"], routes["/predict"]["POST"]
    added = {"/ping": {"GET": ready}, "/invocations": {"POST": predict}}
    if health := _path(HEALTH_ROUTE, environment):
        added[health] = {"GET": ready, **routes.get(health, {})}
    if path := _path(PREDICT_ROUTE, environment):
        added[path] = {**added.get(path, routes.get(path, {})), "POST": _vertex_handler(predict)}
    return added


def _path(variable: str, environment: Mapping[str, str]) -> str:
    path = environment.get(variable, "")
    if path and (not path.startswith("/") or not path.isascii() or {"?", "#", " "} & set(path)):
        raise UsageError(f"{variable} is {path!r}, no path like /predict; unset or correct it")
    return path.rstrip("/") or path


def _vertex_handler(predict: Handler) -> Handler:
    def handle(call: Call, reply: Reply) -> None:
        found = _parse(call.request.body)
        if isinstance(found.instances, msgspec.UnsetType):
            predict(call, reply)
            return
        headers = {**call.request.headers, b"content-type": JSON}
        request = replace(call.request, body=bytes(found.instances), headers=headers)
        query = _to_query(found.parameters or {})
        predict(replace(call, request=request, query=query), _reply_predictions(reply))

    return handle


def _parse(body: bytes | bytearray) -> _Instances:
    """Parse a request of Vertex AI; without instances, what is not an object of this kind."""
    start = _OBJECT.match(body)
    if not start:
        return _Instances()
    body = body[start.end() - 1 :] if body[:1] == _BOM[:1] else body
    found: _Instances = decode(_DECODER, body, "the body")
    if not isinstance(found.instances, msgspec.UnsetType) and bytes(found.instances)[:1] != b"[":
        raise RequestError("instances: an array of objects is expected, one object a row")
    return found


def _to_query(parameters: Mapping[str, Any]) -> str:
    """Write parameters as the query that ``/predict`` takes; raises ``RequestError``."""
    given = {name: value for name, value in parameters.items() if value is not None}
    if isinstance(given.get("proba"), bool):  # as in Python: all classes, or none
        given |= {"proba": "all"} if given.pop("proba") else {}
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in given.items()
    }
    query = urlencode(texts)
    try:
        parse_predict_params(query)
    except RequestError as exc:
        raise RequestError(str(exc).replace("the query", "parameters", 1)) from exc
    return query


def _reply_predictions(reply: Reply) -> Reply:
    def wrapped(response: Response) -> None:
        if response.status != _OK:
            reply(response)
            return
        reply(Response(_OK, (b'{"predictions":', *response.body, b"}"), JSON, response.headers))

    return wrapped
