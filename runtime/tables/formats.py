"""The registry of table formats, and which format a table has: by name, by choice, by content."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runtime import surfaces
from runtime.errors import DataError, UsageError
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.io.charsets import Encoding
    from runtime.io.compression import Compression
    from runtime.io.paths import Location
    from runtime.tables.driver import FileDriver, TextDriver


def _csv_driver() -> TextDriver:
    from runtime.tables.csv import driver

    return driver


def _jsonl_driver() -> TextDriver:
    from runtime.tables.jsonl import driver

    return driver


def _arrow_driver() -> FileDriver:
    from runtime.tables.arrow import driver

    return driver


class _Registration(Value, frozen=True):
    """A format that is read and written; it has one driver, which is imported when it is used.

    Attributes:
        extensions: of its files, also its names in options.
        text: imports the driver of a text format.
        file: imports the driver of a binary format.
        signature: first bytes of a binary format.
        is_delimited: whether it is delimited text, whose column names may repeat.
        has_header: whether a file names its columns at its beginning; else a column that a file
            lacks is missing in its records.
    """

    extensions: tuple[str, ...]
    text: Callable[[], TextDriver] | None = None
    file: Callable[[], FileDriver] | None = None
    signature: re.Pattern[bytes] | None = None
    is_delimited: bool = False
    has_header: bool = True


# To add a format, write its driver in a folder of its own, and register it here.
_REGISTRY: Final = {
    "csv": _Registration(("csv", "txt"), text=_csv_driver, is_delimited=True),
    "tsv": _Registration(("tsv", "tab"), text=_csv_driver, is_delimited=True),
    "jsonl": _Registration(("jsonl", "ndjson"), text=_jsonl_driver, has_header=False),
    "parquet": _Registration(
        ("parquet",),
        file=_arrow_driver,
        # A CSV header may begin with the same letters; here a thrift struct follows them.
        signature=re.compile(rb"PAR[1E][\x00-\x08\x0e-\x1f]"),
    ),
    "arrow": _Registration(
        ("arrow", "feather", "ipc"),
        file=_arrow_driver,
        signature=re.compile(rb"ARROW1\0\0|\xff\xff\xff\xff(?!\0\0)[^\xff]..\0", re.DOTALL),
    ),
}
_KINDS: Final = {
    extension: kind for kind, found in _REGISTRY.items() for extension in found.extensions
}
_COMPRESSIONS: Final[dict[str, Compression]] = {
    "gz": "gzip",
    "zst": "zstd",
    "bz2": "bzip2",
}
_EXTENSIONS: Final[dict[Compression, str]] = {
    name: extension for extension, name in _COMPRESSIONS.items()
}
_COMPRESSED_SIGNATURES: Final[dict[Compression, re.Pattern[bytes]]] = {
    "gzip": re.compile(rb"\x1f\x8b\x08"),
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    "bzip2": re.compile(rb"BZh[1-9](1AY&SY|\x17\x72\x45\x38\x50\x90)"),
}

_UNSUPPORTED_EXTENSIONS: Final = {
    "json": "JSON Lines is read, one object a line: jq -c '.[]' makes it from an array",
    "xlsx": "save the sheet as CSV",
    "xls": "save the sheet as CSV",
    "ods": "save the sheet as CSV",
    "zip": "unpack it first",
    "xz": "unpack it first: xz -d",
    "lz4": "unpack it first: lz4 -d",
    "7z": "unpack it first",
    "tar": "unpack it first",
    "tgz": "unpack it first",
}
_UNSUPPORTED_SIGNATURES: Final = (
    (
        "an Excel workbook",
        re.compile(rb"PK\x03\x04.{0,400}(\[Content_Types\]|xl/|_rels/)", re.DOTALL),
    ),
    (
        "an OpenDocument sheet",
        re.compile(rb"PK\x03\x04.{26}mimetypeapplication/vnd\.oasis", re.DOTALL),
    ),
    ("a zip archive", re.compile(rb"PK(\x03\x04|\x05\x06)")),
    ("an old Excel workbook", re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")),
    ("xz-compressed", re.compile(rb"\xfd7zXZ\0")),
    ("lz4-compressed", re.compile(rb"\x04\x22\x4d\x18")),
    ("a 7z archive", re.compile(rb"7z\xbc\xaf\x27\x1c")),
    ("a tar archive", re.compile(rb".{257}ustar", re.DOTALL)),
    ("a PDF document", re.compile(rb"%PDF-")),
    ("a program (ELF)", re.compile(rb"\x7fELF")),
    ("a PNG picture", re.compile(rb"\x89PNG\r\n")),
    ("a JPEG picture", re.compile(rb"\xff\xd8\xff[\xdb-\xee]")),
    ("a SQLite database", re.compile(rb"SQLite format 3\0")),
    ("an HDF5 file", re.compile(rb"\x89HDF\r\n")),
    ("an ORC file", re.compile(rb"ORC[\x00-\x08\x0e-\x1f]")),
    ("an Avro file", re.compile(rb"Obj\x01")),
    ("a Feather file of version 1", re.compile(rb"FEA1[\0-\x1f]")),
    ("a numpy array", re.compile(rb"\x93NUMPY|PK\x03\x04.{26}[^/]{1,99}\.npy", re.DOTALL)),
    ("a pickle", re.compile(rb"\x80[\x02-\x05][\x00-\x08\x0e-\x1f\x28\x58\x5d\x63\x7d-\x95]")),
    (
        "an HTML page",
        re.compile(rb"(\xef\xbb\xbf)?\s*<(!doctype html|html|head)\b", re.IGNORECASE),
    ),
    ("an XML document", re.compile(rb"(\xef\xbb\xbf)?\s*<\?xml\b")),
    ("a JSON array", re.compile(rb"(\xef\xbb\xbf)?\s*\[\s*(\{|\[)")),
)
_ADVICE: Final = {
    "an Excel workbook": "save the sheet as CSV",
    "an OpenDocument sheet": "save the sheet as CSV",
    "an old Excel workbook": "save the sheet as CSV",
    "a zip archive": "unpack it first: unzip",
    "xz-compressed": "unpack it first: xz -d",
    "lz4-compressed": "unpack it first: lz4 -d",
    "a 7z archive": "unpack it first",
    "a tar archive": "unpack it first: tar -x",
    "an HTML page": "the download may have returned an error page",
    "a JSON array": "convert it to JSON Lines, one object per line: jq -c '.[]'",
    "an ORC file": "write it as Parquet",
    "an Avro file": "write it as Parquet",
    "a Feather file of version 1": "write it again with a newer version",
    "a numpy array": "write it as Parquet or CSV, with column names",
    "a pickle": "a pickle can run code; write it as Parquet or CSV",
}


class Format(Value, frozen=True):
    """Format of a table's file.

    Attributes:
        kind: of the table; ``tsv`` is ``csv`` with tabs as delimiters.
        compression: of text formats only.
    """

    kind: str
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if self.compression and not self.is_text:
            raise UsageError(
                f"{self} is not a format: {self.kind} compresses its columns itself; "
                f"leave out .{_EXTENSIONS[self.compression]}"
            )

    def __str__(self) -> str:
        """Format as an option's value, such as ``csv.gz``."""
        return f"{self.kind}.{_EXTENSIONS[self.compression]}" if self.compression else self.kind

    @property
    def is_text(self) -> bool:
        """Whether it is a text format."""
        return _REGISTRY[self.kind].text is not None

    @property
    def is_delimited(self) -> bool:
        """Whether it is delimited text, whose column names may repeat."""
        return _REGISTRY[self.kind].is_delimited

    @property
    def has_header(self) -> bool:
        """Whether a file names its columns at its beginning."""
        return _REGISTRY[self.kind].has_header


def text_driver(kind: str) -> TextDriver:
    """Import the driver of a text format."""
    load = _REGISTRY[kind].text
    if load is None:
        raise TypeError(f"{kind} is not text")
    return load()


def file_driver(kind: str) -> FileDriver:
    """Import the driver of a binary format."""
    load = _REGISTRY[kind].file
    if load is None:
        raise TypeError(f"{kind} is text")
    return load()


def parse_format(text: str) -> Format:
    """Parse a format's name, such as ``csv.gz``."""
    kind, _, compression = text.lower().removeprefix(".").partition(".")
    if kind not in _KINDS or (compression and compression not in _COMPRESSIONS):
        raise UsageError(f"unknown format {text!r}: choose {_choices()}")
    return Format(_KINDS[kind], _COMPRESSIONS.get(compression))


def format_from_name(path: Location, *, option: str = "format") -> Format | None:
    """Detect the format from a file's name; None for a name without extension."""
    extensions = [part.lower() for part in path.name.lstrip(".").split(".")[1:]]
    compression = _COMPRESSIONS.get(extensions[-1]) if extensions else None
    rest = extensions[:-1] if compression else extensions
    if rest and rest[-1] in _KINDS:
        return Format(_KINDS[rest[-1]], compression)
    if not rest and compression:
        return Format("csv", compression)
    if not rest or _is_special(path):
        return None
    advice = _UNSUPPORTED_EXTENSIONS.get(rest[-1]) if option == "format" else None
    advice = advice or f"name its format with {surfaces.option(option)}: {_choices()}"
    raise UsageError(f"{path}: the extension .{rest[-1]} is not a known format; {advice}")


def strip_extensions(name: str) -> str:
    """Remove the extensions of a format from a file's name."""
    stem, _, last = name.rpartition(".")
    if stem and last.lower() in _COMPRESSIONS:
        name = stem
        stem, _, last = name.rpartition(".")
    return stem if stem and last.lower() in _KINDS else name


def detect_signature(head: bytes) -> str | None:
    """Detect the format that begins with these bytes; None if there is none."""
    binary = ((kind, found.signature) for kind, found in _REGISTRY.items() if found.signature)
    signatures = (*_COMPRESSED_SIGNATURES.items(), *binary, *_UNSUPPORTED_SIGNATURES)
    return next((name for name, begin in signatures if begin.match(head)), None)


def looks_like_json(head: bytes) -> bool:
    """Check whether the first non-blank character opens a JSON object, in any encoding."""
    for mark, is_wide in ((b"\xff\xfe", True), (b"\xfe\xff", True), (b"\xef\xbb\xbf", False)):
        if head.startswith(mark):
            head = head.removeprefix(mark)
            head = head.replace(b"\0", b"") if is_wide else head
    return head.lstrip(b" \t\r\n").startswith(b"{")


def detect_wide_without_bom(head: bytes) -> str | None:
    """Detect UTF-16 or UTF-32 without a byte order mark by the zeros in its first characters."""
    patterns = (
        ("utf-32-le", rb"([\t\r\n -~]\0\0\0){2}"),
        ("utf-32-be", rb"(\0\0\0[\t\r\n -~]){2}"),
        ("utf-16-le", rb"([\t\r\n -~]\0){2}"),
        ("utf-16-be", rb"(\0[\t\r\n -~]){2}"),
    )
    return next((name for name, begin in patterns if re.match(begin, head)), None)


def detect_kind(head: bytes) -> str:
    """Detect the kind of a table from its first bytes; CSV is the default."""
    if kind := _to_kind(detect_signature(head) or ""):
        return kind
    return "jsonl" if looks_like_json(head) else "csv"


def check_content(head: bytes, stored: Format, *, where: str) -> None:
    """Refuse a file whose signature contradicts its compression or binary format."""
    found = detect_signature(head)
    expected = stored.compression or (None if stored.is_text else stored.kind)
    if found == expected or not head:
        return
    if found is not None:
        raise _wrong_format(where, found, stored, inside=False)
    if expected is not None:
        plain = Format(stored.kind) if stored.is_text else Format("csv")
        raise DataError(
            f"{where} is not {expected}, which its name or {surfaces.option('format')} declares; "
            f"if it is plain {plain.kind}, {surfaces.advise('format', str(plain))}"
        )


def check_text(
    head: bytes, stored: Format, *, where: str, encoding: Encoding | None = None
) -> None:
    """Refuse a text format whose content has a binary signature or no byte order mark."""
    found = detect_signature(head)
    if found is not None:
        raise _wrong_format(where, found, stored, inside=stored.compression is not None)
    if encoding is None and (name := detect_wide_without_bom(head)):
        raise DataError(
            f"{where} looks like {name.upper()} without a byte order mark; "
            + surfaces.advise("encoding", name)
        )


def to_compression(found: str | None) -> Compression | None:
    """Get the compression of that name; None if there is none."""
    return next((name for name in _EXTENSIONS if name == found), None)


def _wrong_format(where: str, found: str, stored: Format, *, inside: bool) -> DataError:
    """Describe the detected format and the remedy."""
    compression, kind = to_compression(found), _to_kind(found)
    if inside and (compression or kind):
        advice = "unpack it first"
    elif compression:
        text = stored.kind if stored.is_text else "csv"
        advice = surfaces.advise("format", str(Format(text, compression)))
    elif kind:
        advice = surfaces.advise("format", kind)
    else:
        advice = _ADVICE.get(found, "is this the right file?")
    return DataError(f"{where} is {found}{' inside' if inside else ''}, not {stored}; {advice}")


def _to_kind(found: str) -> str | None:
    return found if found in _REGISTRY else None


def _is_special(path: Location) -> bool:
    try:
        return path.exists() and not path.is_file()
    except OSError:
        return False


def _choices() -> str:
    text = ", ".join(name for name, kind in _KINDS.items() if Format(kind).is_text)
    binary = ", ".join(name for name, kind in _KINDS.items() if not Format(kind).is_text)
    compressed = ", ".join(f".{extension}" for extension in _COMPRESSIONS)
    return f"{text} (also with {compressed}), {binary}"
