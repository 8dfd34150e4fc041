"""The registry of table formats, and the detection of a format by file name or content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, UsageError
from runtime.tables import signatures
from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.io.charsets import Encoding
    from runtime.io.compression import Compression
    from runtime.tables.driver import FileDriver, TextDriver


def text_driver(kind: str) -> TextDriver:
    """Import the driver of a text format."""
    if kind == "jsonl":
        from runtime.tables.jsonl import driver as jsonl

        return jsonl
    from runtime.tables.csv import driver as csv

    return csv


def file_driver(kind: str) -> FileDriver:  # noqa: ARG001 - one for both
    """Import the driver of a binary format."""
    from runtime.tables.arrow import driver

    return driver


_DELIMITED: Final = ("csv", "tsv")
_TEXT: Final = (*_DELIMITED, "jsonl")
_KINDS: Final = {
    "csv": "csv",
    "txt": "csv",
    "tsv": "tsv",
    "tab": "tsv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
    "feather": "arrow",
    "ipc": "arrow",
}
_COMPRESSIONS: Final[dict[str, Compression]] = {
    "gz": "gzip",
    "zst": "zstd",
    "bz2": "bzip2",
}
_EXTENSIONS: Final[dict[Compression, str]] = {
    name: extension for extension, name in _COMPRESSIONS.items()
}
_UNSUPPORTED: Final = {
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


class Format(Value, frozen=True):
    """Format of a table's file.

    Attributes:
        kind: of the table; ``tsv`` is ``csv`` with tabs as delimiters.
        compression: of text formats only.
    """

    kind: str
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if self.compression and self.kind not in _TEXT:
            raise UsageError(
                f"{self} is not a format: {self.kind} compresses its columns itself; "
                f"leave out .{_EXTENSIONS[self.compression]}"
            )

    def __str__(self) -> str:
        """Format as a value of ``--format``, such as ``csv.gz``."""
        return f"{self.kind}.{_EXTENSIONS[self.compression]}" if self.compression else self.kind

    @property
    def is_text(self) -> bool:
        """Whether it is a text format."""
        return self.kind in _TEXT

    @property
    def is_delimited(self) -> bool:
        """Whether it is delimited text, whose column names may repeat."""
        return self.kind in _DELIMITED


def parse_format(text: str) -> Format:
    """Parse a value of ``--format``."""
    kind, _, compression = text.lower().removeprefix(".").partition(".")
    if kind not in _KINDS or (compression and compression not in _COMPRESSIONS):
        raise UsageError(f"unknown format {text!r}: choose {_choices()}")
    return Format(_KINDS[kind], _COMPRESSIONS.get(compression))


def format_from_name(path: Path, *, option: str = "--format") -> Format | None:
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
    advice = _UNSUPPORTED.get(rest[-1]) if option == "--format" else None
    advice = advice or f"name its format with {option}: {_choices()}"
    raise UsageError(f"{path}: the extension .{rest[-1]} is not a known format; {advice}")


def strip_extensions(name: str) -> str:
    """Remove the extensions of a format from a file's name."""
    stem, _, last = name.rpartition(".")
    if stem and last.lower() in _COMPRESSIONS:
        name = stem
        stem, _, last = name.rpartition(".")
    return stem if stem and last.lower() in _KINDS else name


def detect_kind(head: bytes) -> str:
    """Detect the kind of a table from its first bytes; CSV is the default."""
    if kind := _to_kind(signatures.detect_signature(head) or ""):
        return kind
    return "jsonl" if signatures.looks_like_json(head) else "csv"


def check_content(head: bytes, stored: Format, *, where: str) -> None:
    """Refuse a file whose signature contradicts its compression or binary format."""
    found = signatures.detect_signature(head)
    expected = stored.compression or (None if stored.is_text else stored.kind)
    if found == expected or not head:
        return
    if found is not None:
        raise _wrong_format(where, found, stored, inside=False)
    if expected is not None:
        plain = Format(stored.kind) if stored.is_text else Format("csv")
        raise DataError(
            f"{where} is not {expected}, which its name or --format declares; "
            f"if it is plain {plain.kind}, give --format {plain}"
        )


def check_text(
    head: bytes, stored: Format, *, where: str, encoding: Encoding | None = None
) -> None:
    """Refuse a text format whose content has a binary signature or no byte order mark."""
    found = signatures.detect_signature(head)
    if found is not None:
        raise _wrong_format(where, found, stored, inside=stored.compression is not None)
    if encoding is None and (name := signatures.detect_wide_without_bom(head)):
        raise DataError(
            f"{where} looks like {name.upper()} without a byte order mark; give --encoding {name}"
        )


def to_compression(found: str | None) -> Compression | None:
    """Get the compression of that name; None if there is none."""
    return next((name for name in _COMPRESSIONS.values() if name == found), None)


def _wrong_format(where: str, found: str, stored: Format, *, inside: bool) -> DataError:
    """Describe the detected format and the remedy."""
    compression, kind = to_compression(found), _to_kind(found)
    if inside and (compression or kind):
        advice = "unpack it first"
    elif compression:
        text = stored.kind if stored.is_text else "csv"
        advice = f"give --format {Format(text, compression)}"
    elif kind:
        advice = f"give --format {kind}"
    else:
        advice = signatures.ADVICE.get(found, "is this the right file?")
    return DataError(f"{where} is {found}{' inside' if inside else ''}, not {stored}; {advice}")


def _to_kind(found: str) -> str | None:
    return found if found in _KINDS.values() else None


def _is_special(path: Path) -> bool:
    try:
        return path.exists() and not path.is_file()
    except OSError:
        return False


def _choices() -> str:
    text = ", ".join(name for name, kind in _KINDS.items() if kind in _TEXT)
    binary = ", ".join(name for name, kind in _KINDS.items() if kind not in _TEXT)
    compressed = ", ".join(f".{extension}" for extension in _COMPRESSIONS)
    return f"{text} (also with {compressed}), {binary}"
