"""Outputs replace their own kind: another file stays, unless the user forces it."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.errors import DataError, UsageError
from runtime.io.paths import STANDARD_STREAM, existing_error, is_regular, is_special
from runtime.io.rejects import begins_rejects
from runtime.io.sources import PeekedSource, open_source, read_chunk
from runtime.surfaces import option
from runtime.tables.dialect import DETECTED_DELIMITERS
from runtime.tables.formats import detect_signature, format_from_name
from runtime.tables.opening import decode_source

if TYPE_CHECKING:
    from runtime.io.paths import Location
    from runtime.io.streams import ByteSource
    from runtime.scoring.options import Options
    from runtime.tables.formats import Format

DRIFT_REPORT: Final = "a drift report"
SUMMARY: Final = "a summary"
REJECTS: Final = "a list of rejected rows"
_KEYS: Final = {
    DRIFT_REPORT: {"rows", "features"},
    SUMMARY: {"rows", "scored", "rejected", "reasons"},
}
_MAX_REPORT_BYTES: Final = 64 * 1024 * 1024
_HEAD_BYTES: Final = 64 * 1024
_MAX_RECORDS: Final = 10
_JSON_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def check_outputs(out: Location, rejects: Location | None, options: Options) -> None:
    """Refuse outputs of a scoring run that would replace other files; see ``check_table_output``.

    An output whose format depends on the table is checked once that is open.
    """
    if options.no_overwrite:
        for path in (out, rejects, options.drift):
            if path:
                check_absent(path)
        return
    if stored := fixed_format(out, options):
        check_table_output(out, stored, options)
    if rejects:
        check_report_output(rejects, REJECTS, force=options.force)
    if options.drift:
        check_report_output(options.drift, DRIFT_REPORT, force=options.force)


def fixed_format(out: Location, options: Options) -> Format | None:
    """Return the format of an output that does not depend on the table."""
    if options.out_format or out == STANDARD_STREAM:
        return options.out_format
    return format_from_name(out, option="out_format")


def written_files(out: Location, rejects: Location | None, options: Options) -> dict[str, Location]:
    """Name the files that a scoring run writes, by option; without standard output."""
    files = {"out": out, "rejects": rejects, "drift": options.drift}
    return {name: path for name, path in files.items() if path and path != STANDARD_STREAM}


def check_absent(path: Location) -> None:
    """Refuse an output that exists; a device, a pipe or ``-`` replaces nothing.

    Args:
        path: of the output.

    Raises:
        ExistsError: when it is a file or an object.
    """
    if path != STANDARD_STREAM and is_regular(path) and not is_special(path):
        raise existing_error(path)


def check_table_output(path: Location, stored: Format, options: Options) -> None:
    """Refuse to replace a file that is no table in this format.

    Args:
        path: of the output; a device, a pipe or ``-`` replaces nothing.
        stored: the output's format.
        options: whether any file may be replaced, and the delimiter of text.

    Raises:
        UsageError: when ``path`` is another file.
    """
    delimiter = (options.reading.delimiter or b"").decode()
    force = options.force or options.no_overwrite  # which was checked
    _check(path, f"a table in {stored}", force=force, delimiter=delimiter)


def check_report_output(path: Location, what: str, *, force: bool) -> None:
    """Refuse to replace a file that is not ``what``: a drift report, a summary or rejected rows.

    Args:
        path: of the output; a device, a pipe or ``-`` replaces nothing.
        what: ``DRIFT_REPORT``, ``SUMMARY`` or ``REJECTS``.
        force: whether any file may be replaced.

    Raises:
        UsageError: when ``path`` is another file.
    """
    _check(path, what, force=force)


def _check(path: Location, what: str, *, force: bool, delimiter: str = "") -> None:
    if force or path == STANDARD_STREAM or not is_regular(path) or is_special(path):
        return
    found = _identify(path, delimiter)
    # Tabs are a matter of the delimiter: by content both are delimited text.
    if found not in {what, what.replace("in tsv", "in csv"), ""}:
        raise UsageError(
            f"{path} exists and is {found}, not {what}: give another name, or replace it with "
            + option("force", True)
        )


def _identify(path: Location, delimiter: str) -> str:
    """Say what a file is by its content; empty for an empty file."""
    with open_source(path) as stream:
        source = PeekedSource(stream, where=str(path))
        head = source.peek(_HEAD_BYTES)
        if not head:
            return ""
        if begins_rejects(path, head):
            return REJECTS
        if report := _identify_json(path, head):
            return report
        try:
            return _identify_table(source, str(path), delimiter)
        except (DataError, UsageError):  # its content is none of the formats of tables
            signature = detect_signature(head) or ""
            return signature if " " in signature else "no table"


def _identify_table(source: ByteSource, where: str, delimiter: str) -> str:
    decoded = decode_source(source, None, where=where)
    stored = decoded.format
    text = read_chunk(decoded.source, _HEAD_BYTES, where) if stored.is_text else b""
    is_cut = len(text) == _HEAD_BYTES
    is_table = True
    if stored.kind == "jsonl":
        line, end, _ = text.partition(b"\n")
        is_table = _is_object(line) or (is_cut and not end)
    elif stored.is_text:
        whole = text[: text.rfind(b"\n") + 1] if is_cut else text
        records = _read_records((whole or text).decode("latin-1"), delimiter)
        is_table = len({*map(len, records)}) == 1 and len(records[0]) > 1
    return f"a table in {stored}" if is_table else "no table"


def _identify_json(path: Location, head: bytes) -> str:
    """Say which of our reports a JSON document is, or that it is another; empty for no document."""
    if not head.lstrip().startswith(b"{") or path.stat().st_size > _MAX_REPORT_BYTES:
        return ""
    try:
        keys = _JSON_OBJECT.decode(path.read_bytes()).keys()
    except msgspec.DecodeError:  # of JSON Lines, there is more than one
        return ""
    found = (what for what, own in _KEYS.items() if own <= keys)
    is_line = b"\n" not in head.strip()
    return next(found, "" if is_line else "a JSON document")


def _is_object(line: bytes) -> bool:
    try:
        _JSON_OBJECT.decode(line)
    except msgspec.DecodeError:
        return False
    return True


def _read_records(text: str, delimiter: str) -> list[list[str]]:
    """Split the first records of delimited text by the delimiter with most column names."""
    if text.lower().lstrip('"\xef\xbb\xbf').startswith("sep="):  # Excel's line
        text = text.partition("\n")[2]
    found: list[list[list[str]]] = []
    for sign in {delimiter, *(sign.decode() for sign in DETECTED_DELIMITERS)} - {""}:
        with suppress(csv.Error):
            records = csv.reader(io.StringIO(text, newline=""), delimiter=sign)
            found.append(list(islice(filter(None, records), _MAX_RECORDS)))
    return max(found, key=lambda records: len(records[0]) if records else 0, default=[])
