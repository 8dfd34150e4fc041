"""Which formats there are, and which one a table has: by name, by choice, or by its first bytes."""

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
    """Load what reads and writes a format of text."""
    if kind == "jsonl":
        from runtime.tables.json_lines import driver as jsonl

        return jsonl
    from runtime.tables.csv import driver as csv

    return csv


def file_driver(kind: str) -> FileDriver:  # noqa: ARG001 - there is one for both
    """Load what reads and writes a binary format."""
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
_ENDINGS: Final[dict[Compression, str]] = {name: end for end, name in _COMPRESSIONS.items()}
_FOREIGN: Final = {
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
    """How a table is stored.

    Attributes:
        kind: of the table; ``tsv`` is ``csv`` with tabs between the fields.
        compression: around it, for text only.
    """

    kind: str
    compression: Compression | None = None

    def __post_init__(self) -> None:
        if self.compression and self.kind not in _TEXT:
            raise UsageError(
                f"{self} is no format: {self.kind} compresses its columns itself; "
                f"leave out .{_ENDINGS[self.compression]}"
            )

    def __str__(self) -> str:
        """Write the format as ``--format`` takes it, like ``csv.gz``."""
        return f"{self.kind}.{_ENDINGS[self.compression]}" if self.compression else self.kind

    @property
    def is_text(self) -> bool:
        """Whether it is stored as characters, in some encoding."""
        return self.kind in _TEXT

    @property
    def is_delimited(self) -> bool:
        """Whether it is text with delimiters, which binds columns by position as well."""
        return self.kind in _DELIMITED


def parse_format(text: str) -> Format:
    """Read the value of ``--format``."""
    kind, _, compression = text.lower().removeprefix(".").partition(".")
    if kind not in _KINDS or (compression and compression not in _COMPRESSIONS):
        raise UsageError(f"no format {text!r}: choose {_choices()}")
    return Format(_KINDS[kind], _COMPRESSIONS.get(compression))


def format_from_name(path: Path, *, option: str = "--format") -> Format | None:
    """Tell a format from a file's name."""
    endings = [ending.lower() for ending in path.name.lstrip(".").split(".")[1:]]
    compression = _COMPRESSIONS.get(endings[-1]) if endings else None
    rest = endings[:-1] if compression else endings
    if rest and rest[-1] in _KINDS:
        return Format(_KINDS[rest[-1]], compression)
    if not rest and compression:
        return Format("csv", compression)
    if not rest or _is_special(path):
        return None
    advice = _FOREIGN.get(rest[-1]) if option == "--format" else None
    advice = advice or f"say what it is with {option}: {_choices()}"
    raise UsageError(f"{path}: the ending .{rest[-1]} is no known format; {advice}")


def strip_extensions(name: str) -> str:
    """Cut the endings that name a format off a file's name."""
    stem, _, last = name.rpartition(".")
    if stem and last.lower() in _COMPRESSIONS:
        name = stem
        stem, _, last = name.rpartition(".")
    return stem if stem and last.lower() in _KINDS else name


def detect_kind(head: bytes) -> str:
    """Tell the kind of a table without a name; what is nothing else counts as CSV."""
    if kind := _as_kind(signatures.detect_signature(head) or ""):
        return kind
    return "jsonl" if signatures.looks_like_json(head) else "csv"


def check_content(head: bytes, stored: Format, *, where: str) -> None:
    """Refuse a file whose first bytes contradict its compression or binary kind."""
    found = signatures.detect_signature(head)
    expected = stored.compression or (None if stored.is_text else stored.kind)
    if found == expected or not head:
        return
    if found is not None:
        raise _is_other(where, found, stored, inside=False)
    if expected is not None:
        plain = Format(stored.kind) if stored.is_text else Format("csv")
        raise DataError(
            f"{where} is no {expected}, as its name says or --format; "
            f"if it is plain {plain.kind}, give --format {plain}"
        )


def check_text(
    head: bytes, stored: Format, *, where: str, encoding: Encoding | None = None
) -> None:
    """Refuse text that is none."""
    found = signatures.detect_signature(head)
    if found is not None:
        raise _is_other(where, found, stored, inside=stored.compression is not None)
    if encoding is None and (wide := signatures.detect_wide_without_bom(head)):
        raise DataError(
            f"{where} looks like {wide.upper()} without a byte order mark; give --encoding {wide}"
        )


def to_compression(found: str | None) -> Compression | None:
    """Give the compression of that name, if it is one."""
    return next((name for name in _COMPRESSIONS.values() if name == found), None)


def _is_other(where: str, found: str, stored: Format, *, inside: bool) -> DataError:
    """Say what a file is instead, and what helps."""
    compression, kind = to_compression(found), _as_kind(found)
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


def _as_kind(found: str) -> str | None:
    return found if found in _KINDS.values() else None


def _is_special(path: Path) -> bool:
    try:
        return path.exists() and not path.is_file()
    except OSError:
        return False


def _choices() -> str:
    text = ", ".join(end for end, kind in _KINDS.items() if kind in _TEXT)
    binary = ", ".join(end for end, kind in _KINDS.items() if kind not in _TEXT)
    packed = ", ".join(f".{end}" for end in _COMPRESSIONS)
    return f"{text} (also with {packed}), {binary}"
