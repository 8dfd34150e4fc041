"""``POST /predict``: rows for people, as JSON objects or CSV, and the same with their answers.

In: a body and the options of the query. Out: the rows as they came, each with ``label`` and
``probability``, by the very reader and writer that score files. Raises ``DataError`` with the bad
rows; with ``bad_rows=null`` they stay, with empty answers and a ``reason``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from runtime.errors import OversizeError, RequestError
from runtime.serving.http.message import Response
from runtime.serving.protocol.messages import decode
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.scoring.text import ScoredText
    from runtime.serving.http.message import Request
    from runtime.serving.limits import Limits

CSV: Final = b"text/csv; charset=utf-8"
_BODY: Final = "the body"
_OPTIONS: Final = ("model", "bad_rows", "proba", "prefix")
_OBJECTS_A_ROW: Final = 8
Form = Literal["csv", "object", "array"]


class _Object(msgspec.Struct):
    """Any JSON object; its keys are passed over."""


_ROWS: Final = msgspec.json.Decoder(list[_Object])
_RAW_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class Asked(Value, frozen=True):
    """What the query asks for.

    Attributes:
        model: its name; empty for the only one there is.
        bad_rows: ``fail`` or ``null``.
        proba: add one column a class.
        prefix: before the new columns' names.
    """

    model: str = ""
    bad_rows: Literal["fail", "null"] = "fail"
    proba: bool = False
    prefix: str = ""


def parse_query(query: str) -> Asked:
    """Read the query.

    Args:
        query: what follows the question mark.

    Returns:
        What it asks for.

    Raises:
        RequestError: for a name or value that is not known.
    """
    known = f"it may have each of {', '.join(_OPTIONS)}, once"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=len(_OPTIONS))
    except ValueError as exc:
        raise RequestError(f"the query: {exc}; {known}") from exc
    found = dict(pairs)
    if len(found) < len(pairs) or not set(found) <= set(_OPTIONS):
        raise RequestError(f"the query has {query!r}; {known}")
    try:
        return msgspec.convert(found, Asked, strict=False)
    except msgspec.ValidationError as exc:
        raise RequestError(f"the query: {exc}") from exc


def answer_rows(
    predictor: Predictor, request: Request, asked: Asked, limits: Limits
) -> tuple[Response, ScoredText | None]:
    """Score the rows of a body; slow enough for a thread.

    Args:
        predictor: the model.
        request: with rows.
        asked: how they are scored.
        limits: of the server.

    Returns:
        The rows with their answers, in the form they came in; and what was counted, None where
        there were no rows.

    Raises:
        DataError: when the body is no table, a column is missing, or rows are bad.
        OversizeError: when there are too many rows.
    """
    from runtime.scoring.options import Options
    from runtime.scoring.text import score_text
    from runtime.tables.stored.formats import Format

    options = Options(bad_rows=asked.bad_rows, proba=asked.proba, prefix=asked.prefix)
    form = _form_of(request)
    if form == "csv":
        _count_lines(request.body, limits)
        scored = score_text(predictor, request.body, Format("csv"), options, where=_BODY)
        return Response(200, (scored.content,), CSV), scored
    lines = _as_lines(request.body, form, limits)
    if not lines:
        return Response(200, (b"[]",)), None
    scored = score_text(predictor, lines, Format("jsonl"), options, where=_BODY)
    if form == "object":
        return Response(200, (scored.content.strip(),)), scored
    return Response(200, (b"[", b",".join(scored.content.splitlines()), b"]")), scored


def _form_of(request: Request) -> Form:
    """Tell the form by the media type, or by the first byte where that says nothing."""
    kind = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    first = bytes(request.body[:64]).lstrip()[:1]
    if kind == b"text/csv":
        return "csv"
    if kind == b"application/json" or first in {b"{", b"["}:
        return "object" if first == b"{" else "array"
    return "csv"


def _count_lines(body: bytes | bytearray, limits: Limits) -> None:
    if body.count(b"\n") + body.count(b"\r") > 2 * limits.rows:
        raise _too_many(limits)


def _as_lines(body: bytes | bytearray, form: Form, limits: Limits) -> bytes:
    """Write JSON objects one a line; blanks between their members may be line ends."""
    if body.count(b"{") > _OBJECTS_A_ROW * limits.rows:
        raise _too_many(limits)
    if form == "object":
        decode(msgspec.json.Decoder(_Object), body, _BODY)
        return _in_a_line(bytes(body))
    decode(_ROWS, body, _BODY)  # objects alone: then there are no more of them than braces
    rows = decode(_RAW_ROWS, body, _BODY)
    if len(rows) > limits.rows:
        raise _too_many(limits)
    return b"\n".join([_in_a_line(bytes(row)) for row in rows])


def _in_a_line(text: bytes) -> bytes:
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def _too_many(limits: Limits) -> OversizeError:
    return OversizeError(
        f"more than the {limits.rows} rows allowed in one request; send them in parts"
    )
