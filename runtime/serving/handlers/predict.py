"""``POST /predict``: score rows sent as JSON or CSV with the readers and writers of files.

Rows are returned as sent, each with ``label`` and ``probability``. Bad rows fail the request; with
``bad_rows=null`` they stay, with empty predictions and a ``reason``.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from runtime.choices import Decimal  # noqa: TC001 - msgspec reads the annotation
from runtime.errors import DataError, MediaError, OversizeError, RequestError, UsageError
from runtime.serving.http.messages import JSON, Response
from runtime.serving.v2.messages import decode
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import ScoredText
    from runtime.serving.http.messages import Request
    from runtime.serving.settings import Limits

CSV: Final = b"text/csv; charset=utf-8"
_BODY: Final = "the body"
_BRACES_PER_ROW: Final = 8  # allowed in JSON objects: rows may have nested ones
_BOM: Final = codecs.BOM_UTF8
_FORM: Final = "application/x-www-form-urlencoded"  # the default of curl -d
_JSON_LINES: Final = (
    "application/jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/x-ndjson",
)
_HTTP_TERMS: Final = (
    ("give --format jsonl", "send Content-Type: application/x-ndjson"),
    ("--prefix TEXT", "prefix=TEXT in the query"),
    ("--delimiter ", "in the query delimiter="),
    ("--encoding ", "Content-Type: text/csv; charset="),
)
Layout = Literal["csv", "object", "array", "lines"]
_JSON_TYPES: Final = {"object": JSON, "array": JSON, "lines": b"application/x-ndjson"}
_PARAMS: Final = ("model", "bad_rows", "proba", "prefix", "delimiter", "decimal")


class _Object(msgspec.Struct):
    """Any JSON object; its keys are ignored."""


_ROWS: Final = msgspec.json.Decoder(list[_Object])
_RAW_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class PredictParams(Value, frozen=True):
    """The query parameters of ``/predict``.

    Attributes:
        model: its name; empty for the only one.
        bad_rows: ``fail`` or ``null``.
        proba: add one column a class.
        prefix: of the new columns' names.
        delimiter: of CSV; empty to detect it from the header.
        decimal: decimal separator of numbers in text.
    """

    model: str = ""
    bad_rows: Literal["fail", "null"] = "fail"
    proba: bool = False
    prefix: str = ""
    delimiter: str = ""
    decimal: Decimal = "."

    def options(self, charset: str) -> Options:
        """Return the scoring options; raises ``UsageError``. An empty charset is detected."""
        from runtime.io.charsets import parse_encoding
        from runtime.scoring.options import Options
        from runtime.tables.dialect import parse_delimiter
        from runtime.tables.options import ReadOptions

        reading = ReadOptions(
            delimiter=parse_delimiter(self.delimiter) if self.delimiter else None,
            encoding=parse_encoding(charset) if charset else None,
            decimal=self.decimal,
        )
        return Options(
            reading=reading, bad_rows=self.bad_rows, proba=self.proba, prefix=self.prefix
        )


def parse_predict_params(query: str) -> PredictParams:
    """Parse a query string; raises ``RequestError``."""
    known = f"it may have each of {', '.join(_PARAMS)}, once"
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=len(_PARAMS))
    except ValueError as exc:
        raise RequestError(f"the query: {exc}; {known}") from exc
    found = dict(pairs)
    if len(found) < len(pairs) or not set(found) <= set(_PARAMS):
        raise RequestError(f"the query has {query!r}; {known}")
    try:
        return msgspec.convert(found, PredictParams, strict=False)
    except msgspec.ValidationError as exc:
        reason, _, name = str(exc).replace("`", "").rpartition(" - at $.")
        raise RequestError(f"the query: {name}: {reason}; see /openapi.json") from exc


def predict_rows(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits
) -> tuple[Response, ScoredText | None]:
    """Score the rows of a body, in a worker thread.

    Returns the response in the layout of the request, and the counts, None without rows. Raises
    ``MediaError``, ``DataError`` or ``OversizeError``.
    """
    layout = _detect_layout(request)
    try:
        if layout == "csv":
            return _predict_csv(predictor, request, params, limits)
        return _predict_json(predictor, request, params, limits, layout)
    except UsageError as exc:  # of a query parameter
        raise RequestError(_in_http_terms(str(exc))) from exc
    except DataError as exc:
        raise type(exc)(_in_http_terms(str(exc))) from exc


def _predict_csv(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits
) -> tuple[Response, ScoredText]:
    from runtime.scoring.pipeline import score_text
    from runtime.tables.formats import Format

    media_type, charset = _media_type(request)
    body = request.body
    if media_type == _FORM and not body.count(b"\n") and not body.count(b"\r"):
        raise RequestError(
            "the body is one line: curl -d removes the line ends of a file; "
            "send it with --data-binary @FILE"
        )
    _check_lines(body, limits)
    scored = score_text(predictor, body, Format("csv"), params.options(charset), where=_BODY)
    return Response(200, (scored.content,), _csv_type(scored.content, charset)), scored


def _predict_json(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits, layout: Layout
) -> tuple[Response, ScoredText | None]:
    from runtime.scoring.pipeline import score_text
    from runtime.tables.formats import Format

    body = request.body.removeprefix(_BOM)
    _check_utf8(body)
    lines = body if layout == "lines" else _as_lines(body, layout, limits)
    _check_lines(lines, limits)
    if not lines:
        return Response(200, (b"" if layout == "lines" else b"[]",), _JSON_TYPES[layout]), None
    scored = score_text(predictor, lines, Format("jsonl"), params.options(""), where=_BODY)
    content = scored.content
    pieces: tuple[bytes, ...] = (content,) if layout == "lines" else (content.strip(),)
    if layout == "array":
        pieces = (b"[", b",".join(content.splitlines()), b"]")
    return Response(200, pieces, _JSON_TYPES[layout]), scored


def _media_type(request: Request) -> tuple[str, str]:
    """Return media type and charset in lower case, empty where missing."""
    field = request.headers.get(b"content-type", b"").decode("latin-1").lower()
    media_type, _, parameters = field.partition(";")
    pairs = (one.partition("=") for one in parameters.split(";"))
    found = {name.strip(): value.strip(' "') for name, _, value in pairs}
    return media_type.strip(), found.get("charset", "")


def _detect_layout(request: Request) -> Layout:
    """Detect the layout by the media type, or by the first byte where that is generic."""
    media_type = _media_type(request)[0]
    if media_type.startswith("multipart/"):
        raise MediaError("multipart bodies are not supported; send the table itself as the body")
    if media_type in _JSON_LINES:
        return "lines"
    first = bytes(request.body[:64]).removeprefix(_BOM).lstrip()[:1]
    if media_type == "text/csv":
        return "csv"
    if media_type == "application/json" or first in {b"{", b"["}:
        return "object" if first == b"{" else "array"
    return "csv"


def _csv_type(content: bytes, charset: str) -> bytes:
    """Return the media type of the response: with the charset of the request, if known."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        charset = "utf-16"
    if charset:
        return b"text/csv; charset=" + charset.encode("latin-1")
    return CSV if _find_non_utf8(content) is None else b"text/csv"


def _find_non_utf8(content: bytes | bytearray) -> int | None:
    try:
        content.decode()
    except UnicodeDecodeError as exc:
        return exc.start
    return None


def _check_utf8(body: bytes | bytearray) -> None:
    """Reject JSON that is not UTF-8 (RFC 8259, 8.1): ignored values are returned verbatim."""
    position = _find_non_utf8(body)
    if position is not None:
        raise RequestError(f"the body: JSON is UTF-8, and byte {position} is not")


def _in_http_terms(text: str) -> str:
    """Replace command line options by the parameters of a request."""
    for option, term in _HTTP_TERMS:
        text = text.replace(option, term)
    return text


def _check_lines(body: bytes | bytearray, limits: Limits) -> None:
    if body.count(b"\n") + body.count(b"\r") > 2 * limits.rows:
        raise _too_many(limits)


def _as_lines(body: bytes | bytearray, layout: Layout, limits: Limits) -> bytes:
    """Convert JSON objects to JSON Lines; whitespace between members may hold line ends."""
    if body.count(b"{") > _BRACES_PER_ROW * limits.rows:
        raise _too_many(limits)
    if layout == "object":
        decode(msgspec.json.Decoder(_Object), body, _BODY)
        return _as_line(bytes(body))
    decode(_ROWS, body, _BODY)  # objects only, so at most as many rows as braces
    rows = decode(_RAW_ROWS, body, _BODY)
    if len(rows) > limits.rows:
        raise _too_many(limits)
    return b"\n".join([_as_line(bytes(row)) for row in rows])


def _as_line(text: bytes) -> bytes:
    return text.replace(b"\n", b" ").replace(b"\r", b" ")


def _too_many(limits: Limits) -> OversizeError:
    return OversizeError(
        f"more than the {limits.rows} rows allowed in one request; send them in parts"
    )
