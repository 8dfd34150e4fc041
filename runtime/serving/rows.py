"""``POST /predict``: rows for people, as JSON or CSV, and the same with their answers.

In: a body and the options of the query. Out: the rows as they came, each with ``label`` and
``probability``, by the very reader and writer that score files. Raises ``DataError`` with the bad
rows; with ``bad_rows=null`` they stay, with empty answers and a ``reason``.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from runtime.errors import DataError, MediaError, OversizeError, RequestError, UsageError
from runtime.serving.http.message import JSON, Response
from runtime.serving.protocol.messages import decode

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.scoring.in_memory import ScoredText
    from runtime.serving.asked import Asked
    from runtime.serving.http.message import Request
    from runtime.serving.limits import Limits

CSV: Final = b"text/csv; charset=utf-8"
_BODY: Final = "the body"
_OBJECTS_A_ROW: Final = 8
_MARK: Final = codecs.BOM_UTF8
_FORM: Final = "application/x-www-form-urlencoded"  # what curl -d says of anything
_LINES: Final = ("application/jsonl", "application/x-jsonlines", "application/x-ndjson")
_SPELLED: Final = (
    ("give --format jsonl", "say Content-Type: application/x-ndjson"),
    ("--prefix TEXT", "prefix=TEXT in the query"),
    ("--delimiter ", "in the query delimiter="),
    ("--encoding ", "Content-Type: text/csv; charset="),
)
Form = Literal["csv", "object", "array", "lines"]
_JSON_KINDS: Final = {"object": JSON, "array": JSON, "lines": b"application/x-ndjson"}


class _Object(msgspec.Struct):
    """Any JSON object; its keys are passed over."""


_ROWS: Final = msgspec.json.Decoder(list[_Object])
_RAW_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


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
        MediaError: when the body is in a form that is not read.
        DataError: when the body is no table, a column is missing, or rows are bad.
        OversizeError: when there are too many rows.
    """
    form = _form_of(request)
    try:
        if form == "csv":
            return _answer_csv(predictor, request, asked, limits)
        return _answer_json(predictor, request, asked, limits, form)
    except UsageError as exc:  # what the query asks for
        raise RequestError(_in_terms_of_http(str(exc))) from exc
    except DataError as exc:
        raise type(exc)(_in_terms_of_http(str(exc))) from exc


def _answer_csv(
    predictor: Predictor, request: Request, asked: Asked, limits: Limits
) -> tuple[Response, ScoredText]:
    from runtime.scoring.in_memory import score_text
    from runtime.tables.formats import Format

    kind, charset = _media_type(request)
    body = request.body
    if kind == _FORM and not body.count(b"\n") and not body.count(b"\r"):
        raise RequestError(
            "the body is one line; curl -d takes the line ends out of a file: "
            "send it with --data-binary @FILE"
        )
    _count_lines(body, limits)
    scored = score_text(predictor, body, Format("csv"), asked.options(charset), where=_BODY)
    return Response(200, (scored.content,), _csv_kind(scored.content, charset)), scored


def _answer_json(
    predictor: Predictor, request: Request, asked: Asked, limits: Limits, form: Form
) -> tuple[Response, ScoredText | None]:
    from runtime.scoring.in_memory import score_text
    from runtime.tables.formats import Format

    body = request.body.removeprefix(_MARK)
    _check_text(body)
    lines = body if form == "lines" else _as_lines(body, form, limits)
    _count_lines(lines, limits)
    if not lines:
        return Response(200, (b"" if form == "lines" else b"[]",), _JSON_KINDS[form]), None
    scored = score_text(predictor, lines, Format("jsonl"), asked.options(""), where=_BODY)
    content = scored.content
    whole: tuple[bytes, ...] = (content,) if form == "lines" else (content.strip(),)
    if form == "array":
        whole = (b"[", b",".join(content.splitlines()), b"]")
    return Response(200, whole, _JSON_KINDS[form]), scored


def _media_type(request: Request) -> tuple[str, str]:
    """Read the media type and the charset, both in lower case and empty where there are none."""
    field = request.headers.get(b"content-type", b"").decode("latin-1").lower()
    kind, _, parameters = field.partition(";")
    pairs = (one.partition("=") for one in parameters.split(";"))
    found = {name.strip(): value.strip(' "') for name, _, value in pairs}
    return kind.strip(), found.get("charset", "")


def _form_of(request: Request) -> Form:
    """Tell the form by the media type, or by the first byte where that says nothing."""
    kind = _media_type(request)[0]
    if kind.startswith("multipart/"):
        raise MediaError("a form with parts is not read; send the table itself as the body")
    if kind in _LINES:
        return "lines"
    first = bytes(request.body[:64]).removeprefix(_MARK).lstrip()[:1]
    if kind == "text/csv":
        return "csv"
    if kind == "application/json" or first in {b"{", b"["}:
        return "object" if first == b"{" else "array"
    return "csv"


def _csv_kind(content: bytes, charset: str) -> bytes:
    """Say in which charset CSV comes back: the one it came in, or none where nobody knows it."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    if charset:
        return b"text/csv; charset=" + charset.encode("latin-1")
    return CSV if _first_not_text(content) is None else b"text/csv"


def _first_not_text(content: bytes | bytearray) -> int | None:
    """Say at which byte something begins that is no UTF-8."""
    try:
        content.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


def _check_text(body: bytes | bytearray) -> None:
    """JSON is UTF-8 (RFC 8259, 8.1); what is passed over would else come back as it is."""
    at = _first_not_text(body)
    if at is not None:
        raise RequestError(f"the body: JSON is UTF-8, and byte {at} begins something else")


def _in_terms_of_http(text: str) -> str:
    """Say options of the command as a request has them."""
    for option, asked in _SPELLED:
        text = text.replace(option, asked)
    return text


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
