"""``POST /predict``: score rows sent as JSON, CSV or Parquet with the readers and writers of files.

Rows are returned as sent, each with ``label`` and ``probability``; Parquet as CSV on request. Bad
rows fail the request; with ``bad_rows=null`` they stay, with empty predictions and a ``reason``.
"""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec.structs import replace

from runtime.choices import Decimal  # noqa: TC001 - msgspec reads the annotation
from runtime.errors import BodyError, DataError, MediaError, RequestError, UsageError
from runtime.printable import list_names, truncate
from runtime.serving.examples import advise_rows
from runtime.serving.handlers.parquet import check_parquet, too_many_rows
from runtime.serving.http.messages import JSON, Response
from runtime.serving.v2.malformed import LOOKS_LIKE_CSV, explain_malformed, recognize
from runtime.serving.v2.messages import BODY as _BODY
from runtime.serving.v2.messages import decode
from runtime.surfaces import current_surface, request_surface
from runtime.tables.formats import detect_signature
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.predictor import Predictor
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import ScoredBytes
    from runtime.serving.http.messages import Request
    from runtime.serving.settings import Limits

PARQUET: Final = b"application/vnd.apache.parquet"
CSV: Final = b"text/csv; charset=utf-8"
_BRACES_PER_ROW: Final = 8  # allowed in JSON objects: rows may have nested ones
_BOM: Final = codecs.BOM_UTF8
_HEAD: Final = 64  # bytes that tell what a body is
_FORM: Final = "application/x-www-form-urlencoded"  # the default of curl -d
_JSON_LINES: Final = (
    "application/jsonl",
    "application/jsonlines",
    "application/x-jsonlines",
    "application/x-ndjson",
)
_PARQUET_TYPES: Final = (PARQUET.decode(), "application/parquet", "application/x-parquet")
HINTS: Final = b"x-onnxferry-hints"  # a header field of responses
_MAX_HINT: Final = 300  # characters
_PAGE: Final = b"x-onnxferry-page"  # a header field of the page's requests
Layout = Literal["csv", "object", "array", "lines", "parquet"]
_JSON_TYPES: Final = {"object": JSON, "array": JSON, "lines": b"application/x-ndjson"}
_PARAMS: Final = ("model", "bad_rows", "proba", "prefix", "delimiter", "decimal", "loose_header")


class _Object(msgspec.Struct):
    """Any JSON object; its keys are ignored."""


_MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ROWS: Final = msgspec.json.Decoder(list[_Object])
_RAW_ROWS: Final = msgspec.json.Decoder(list[msgspec.Raw])


class PredictParams(Value, frozen=True):
    """The query parameters of ``/predict``.

    Attributes:
        model: its name; empty for the only one.
        bad_rows: ``fail`` or ``null``.
        proba: add the probability of ``all`` classes, the ``positive`` one or that of this name.
        prefix: of the new columns' names.
        delimiter: of CSV; empty to detect it from the header.
        decimal: decimal separator of numbers in text.
        loose_header: match column names regardless of case and blanks.
    """

    model: str = ""
    bad_rows: Literal["fail", "null"] = "fail"
    proba: str = ""
    prefix: str = ""
    delimiter: str = ""
    decimal: Decimal = "."
    loose_header: Literal["true", "false"] = "false"

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
            loose_header=self.loose_header == "true",
        )
        return Options(
            reading=reading,
            bad_rows=self.bad_rows,
            proba=self.proba or False,
            prefix=self.prefix,
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
        return msgspec.convert(found, PredictParams)
    except msgspec.ValidationError as exc:
        reason, _, name = str(exc).replace("`", "").rpartition(" - at $.")
        raise RequestError(f"the query: {name}: {reason}; see /openapi.json") from exc


def predict_rows(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits
) -> tuple[Response, ScoredBytes | None]:
    """Score the rows of a body, in a worker thread.

    Returns the response in the layout of the request, and the counts, None without rows. Raises
    ``MediaError``, ``DataError`` or ``OversizeError``.
    """
    layout = _detect_layout(request)
    try:
        with request_surface("page" if _PAGE in request.headers else "http"):
            return _predict(predictor, request, params, limits, layout)
    except BodyError as exc:
        raise BodyError(f"{exc}; {advise_rows(predictor.schema)}") from exc


def _predict(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits, layout: Layout
) -> tuple[Response, ScoredBytes | None]:
    try:
        if layout == "csv":
            return _predict_csv(predictor, request, params, limits)
        if layout == "parquet":
            return _predict_parquet(predictor, request, params, limits)
        return _predict_json(predictor, request, params, limits, layout)
    except UsageError as exc:  # of a query parameter
        raise RequestError(str(exc)) from exc
    except DataError:
        if layout == "object":
            _check_keys(predictor, request.body)
        if layout == "csv":
            _check_not_json(request.body)
        raise


def _predict_csv(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits
) -> tuple[Response, ScoredBytes]:
    from runtime.scoring.pipeline import score_bytes
    from runtime.tables.formats import Format

    media_type, charset = _media_type(request)
    body = request.body
    _check_csv(body, is_form=media_type == _FORM)
    _check_lines(body, limits)
    scored = score_bytes(predictor, body, Format("csv"), params.options(charset), where=_where())
    return _respond((scored.content,), _csv_type(scored.content, charset), scored), scored


def _predict_parquet(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits
) -> tuple[Response, ScoredBytes]:
    from runtime.scoring.pipeline import score_bytes
    from runtime.tables.formats import Format

    check_parquet(request.body, limits, where=_where())
    options, media_type = params.options(""), PARQUET
    if b"text/csv" in request.headers.get(b"accept", b"").lower():
        options, media_type = replace(options, out_format=Format("csv")), CSV
    scored = score_bytes(predictor, request.body, Format("parquet"), options, where=_where())
    return _respond((scored.content,), media_type, scored), scored


def _predict_json(
    predictor: Predictor, request: Request, params: PredictParams, limits: Limits, layout: Layout
) -> tuple[Response, ScoredBytes | None]:
    from runtime.scoring.pipeline import score_bytes
    from runtime.tables.formats import Format

    body = request.body.removeprefix(_BOM)
    _check_utf8(body)
    lines = body if layout == "lines" else _as_lines(body, layout, limits)
    _check_lines(lines, limits)
    if not lines:
        return Response(200, (b"" if layout == "lines" else b"[]",), _JSON_TYPES[layout]), None
    scored = score_bytes(predictor, lines, Format("jsonl"), params.options(""), where=_where())
    content = scored.content
    pieces: tuple[bytes, ...] = (content,) if layout == "lines" else (content.strip(),)
    if layout == "array":
        pieces = (b"[", b",".join(content.splitlines()), b"]")
    return _respond(pieces, _JSON_TYPES[layout], scored), scored


def _where() -> str:
    """Name the table in messages; who drops a file knows of no body."""
    return "the table" if current_surface() == "page" else _BODY


def _respond(pieces: tuple[bytes, ...], media_type: bytes, scored: ScoredBytes) -> Response:
    """Return a response with the scored rows; hints about bad ones are in its header, as JSON."""
    if not scored.hints:
        return Response(200, pieces, media_type)
    hints = json.dumps([truncate(hint, _MAX_HINT) for hint in scored.hints])  # in ASCII
    return Response(200, pieces, media_type, ((HINTS, hints.encode()),))


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
    if media_type in _PARQUET_TYPES:
        return "parquet"
    first = _first_byte(request.body)
    if media_type == "text/csv":
        return "csv"
    if media_type == "application/json" or first in {b"{", b"["}:
        return "object" if first == b"{" else "array"
    return "parquet" if detect_signature(bytes(request.body[:_HEAD])) == "parquet" else "csv"


def _first_byte(body: bytes | bytearray) -> bytes:
    """Return the first byte that is no blank; empty if there are only blanks."""
    return bytes(body[:_HEAD]).removeprefix(_BOM).lstrip()[:1]


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


def _check_keys(predictor: Predictor, body: bytes | bytearray) -> None:
    """Reject an object without any of the model's columns: other servers wrap rows in one."""
    keys = list(decode(_MEMBERS, body, _BODY))
    if keys and not set(keys) & set(predictor.schema.feature_names):
        raise BodyError(
            f"the body is an object with {list_names(keys)} and none of the model's columns"
        )


def _check_not_json(body: bytes | bytearray) -> None:
    """Reject a body that is whole JSON, whatever its media type says."""
    if _first_byte(body) not in {b"{", b"["}:
        return
    try:
        msgspec.json.decode(body.removeprefix(_BOM), type=msgspec.Raw)
    except msgspec.DecodeError:
        return
    raise RequestError("the body is JSON: send Content-Type: application/json")


def _check_csv(body: bytes | bytearray, *, is_form: bool) -> None:
    """Reject a body of one line, which has a header at most, for what it probably is."""
    if body.count(b"\n") or body.count(b"\r"):
        return
    what = recognize(body)
    if what and what != LOOKS_LIKE_CSV:
        raise BodyError(f"the body {what}")
    if is_form:
        raise BodyError(
            "the body is one line and no JSON: curl -d removes the line ends of a file, "
            "--data-binary @FILE keeps them"
        )


def _check_utf8(body: bytes | bytearray) -> None:
    """Reject JSON that is not UTF-8 (RFC 8259, 8.1): ignored values are returned verbatim."""
    position = _find_non_utf8(body)
    if position is not None:
        reason = f"JSON is UTF-8, and byte {position} is not"
        raise BodyError(f"the body {explain_malformed(body, reason)}")


def _check_lines(body: bytes | bytearray, limits: Limits) -> None:
    if body.count(b"\n") + body.count(b"\r") > 2 * limits.rows:
        raise too_many_rows(limits)


def _as_lines(body: bytes | bytearray, layout: Layout, limits: Limits) -> bytes:
    """Convert JSON objects to JSON Lines; whitespace between members may hold line ends."""
    if body.count(b"{") > _BRACES_PER_ROW * limits.rows:
        raise too_many_rows(limits)
    if layout == "object":
        decode(msgspec.json.Decoder(_Object), body, _BODY)
        return _as_line(bytes(body))
    decode(_ROWS, body, _BODY)  # objects only, so at most as many rows as braces
    rows = decode(_RAW_ROWS, body, _BODY)
    if len(rows) > limits.rows:
        raise too_many_rows(limits)
    return b"\n".join([_as_line(bytes(row)) for row in rows])


def _as_line(text: bytes) -> bytes:
    return text.replace(b"\n", b" ").replace(b"\r", b" ")
