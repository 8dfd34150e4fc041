"""The first pass over a table: its rows, labels, column types and distinct texts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.io.charsets import UTF_8
from runtime.io.parallel import default_threads, map_ordered
from runtime.monitoring.accuracy import MAX_CLASSES
from runtime.surfaces import advise_encoding, option
from runtime.tables.arrays import filter_rows, number_scalar, number_values
from runtime.tables.cells import is_decodable, missing_pattern
from runtime.tables.formats import Format
from runtime.tables.text import cell_texts
from trainer.data.column_types import (
    DATE,
    TEXT,
    ColumnTypeDetector,
    EarliestDays,
    find_earliest_days,
    type_of_arrow,
)
from trainer.data.source import MAX_CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from runtime.scoring.pipeline import OnProgress
    from runtime.tables.base import Block, Mask, Table
    from trainer.data.column_types import ColumnType
    from trainer.data.source import ColumnRoles

    Codes = npt.NDArray[np.int64]


MAX_COUNTED_TEXTS = 1_000_000  # distinct texts of a column whose frequencies are counted
NO_LABEL = -1  # code of a row without a label


@dataclass(frozen=True)
class TableProfile:
    """What a table contains.

    Attributes:
        codes: ``(rows,)`` int64, positions in ``labels``; ``NO_LABEL`` without a label, and less
            where the cell has a text that means so: ``NO_LABEL - 1`` is the first of these.
        labels: the distinct labels as written, in order of first appearance.
        column_types: types of the feature columns, by position in the table.
        texts: the distinct texts of the text columns, by position; an empty text is a missing
            cell; at most one more than the collector's limit.
        text_counts: the number of cells of each of these texts, if they are counted.
        first_days: the earliest day of the date columns, by position, since 1970-01-01.
        date_formats: formats of the date columns, by position; absent for ISO 8601.
        utf8_advice: what to do about texts that are not UTF-8.
        missing_labels: the distinct texts of rows without a label, by their codes.
    """

    codes: Codes
    labels: tuple[bytes, ...]
    column_types: dict[int, ColumnType]
    texts: dict[int, set[bytes]]
    text_counts: dict[int, Counter[bytes]] = field(default_factory=dict)
    first_days: dict[int, int] = field(default_factory=dict)
    date_formats: dict[int, str] = field(default_factory=dict)
    utf8_advice: str = ""
    missing_labels: tuple[bytes, ...] = ()


def _choose_all(_start: int, _block: Block) -> None:
    return None


@dataclass(frozen=True)
class RowChoice:
    """The rows of a table to profile, and a callback for those that are read.

    Attributes:
        mask: takes the number of rows before a block, and the block, and masks its rows to
            consider, ``(rows,)``, None for all; the others have no label.
        known: an earlier profile, whose column types and formats of dates hold.
        on_progress: takes the number of bytes and of rows read so far; None for nobody.
    """

    mask: Callable[[int, Block], Mask | None] = _choose_all
    known: TableProfile | None = None
    on_progress: OnProgress | None = None


def profile_table(
    table: Table,
    roles: ColumnRoles,
    *,
    where: str,
    rows: RowChoice | None = None,
    texts: TextCollector | None = None,
    date_format: str = "",
) -> TableProfile:
    """Read a table once.

    Args:
        table: the table.
        roles: positions of the columns that are used.
        where: names the table in errors.
        rows: None for all.
        texts: collects the texts of columns, and knows those that mean a missing cell.
        date_format: one of dates, beside ISO 8601.

    Returns:
        What these rows contain.
    """
    rows = rows or RowChoice()
    known = rows.known
    texts = texts or TextCollector(MAX_CATEGORIES)
    missing = texts.missing
    types = _types_by_schema(table, roles.features) | dict.fromkeys(roles.categories, TEXT)
    types |= dict.fromkeys(roles.date_formats, DATE)
    types |= known.column_types if known else {}
    unknown = [at for at in roles.features if at not in types]
    detector = ColumnTypeDetector(
        sorted(table.decimals), types, unknown, date_format=date_format, missing=missing
    )
    detector.date_formats.update(roles.date_formats)
    detector.date_formats.update(known.date_formats if known else {})
    labels, first_days = LabelEncoder(missing), EarliestDays()
    codes: list[Codes] = []
    read_rows = 0

    def encode(numbered: tuple[int, Block]) -> _EncodedBlock:
        start, block = numbered
        columns = [
            roles.label,
            *(at for at in roles.features if detector.column_types.get(at) == TEXT),
        ]
        dates = [at for at in roles.features if detector.column_types.get(at) == DATE]
        cells = block.select([*columns, *dates]).columns
        chosen = rows.mask(start, block)
        if chosen is not None:
            cells = [filter_rows(column, chosen) for column in cells]
        encoded = dict(zip(columns, map(encode_cells, cells), strict=False))
        days = find_earliest_days(
            dict(zip(dates, cells[len(columns) :], strict=True)), detector.date_formats, missing
        )
        return _EncodedBlock(len(block), chosen, encoded, days)

    read = [at for at in roles.features if types.get(at) in {None, TEXT, DATE}]
    blocks = _number_blocks(detector.inspect(table.blocks([roles.label, *read])))
    for encoded in map_ordered(encode, blocks, threads=default_threads()):
        read_rows += encoded.rows
        if rows.on_progress:
            rows.on_progress(table.bytes_read, read_rows)
        codes.append(encoded.spread(labels.add(encoded.cells.pop(roles.label))))
        texts.add(encoded.cells)
        first_days.add(encoded.first_days)
        if len(labels.texts) > MAX_CLASSES:
            raise SchemaError(_describe_many(table.columns[roles.label], where))
    all_codes = np.concatenate(codes or [np.empty(0, np.int64)])
    distinct = texts.by_column(initially_empty=detector.initially_empty)
    return TableProfile(
        all_codes,
        tuple(labels.texts),
        detector.column_types,
        distinct,
        texts.counts,
        first_days.days,
        detector.date_formats,
        _advise_utf8(table),
        tuple(labels.missing_texts),
    )


@dataclass(frozen=True)
class _EncodedBlock:
    """The cells of the chosen rows of a block, dictionary-encoded, by column."""

    rows: int
    chosen: Mask | None
    cells: dict[int, pa.DictionaryArray]
    first_days: dict[int, int]

    def spread(self, codes: Codes) -> Codes:
        """Give the chosen rows their codes, ``(rows,)``; the others have no label."""
        if self.chosen is None:
            return codes
        all_codes = np.full(self.rows, NO_LABEL, dtype=np.int64)
        all_codes[self.chosen] = codes
        return all_codes


def _number_blocks(blocks: Iterable[Block]) -> Iterator[tuple[int, Block]]:
    """Pair each block with the number of rows before it."""
    start = 0
    for block in blocks:
        yield start, block
        start += len(block)


def _describe_many(name: str, where: str) -> str:
    return (
        f"{where}: label {name!r} has more than {MAX_CLASSES:,} distinct values, too many "
        "classes: bin it into ranges, or use another column"
    )


def _types_by_schema(table: Table, features: Sequence[int]) -> dict[int, ColumnType]:
    schema = table.arrow_schema
    if schema is None:
        return {}
    found = {at: type_of_arrow(schema.field(at).type) for at in features}
    return {at: kind for at, kind in found.items() if kind}


def encode_cells(cells: pa.Array) -> pa.DictionaryArray:
    """Dictionary-encode a block's cells, ``(rows,)`` of any type; safe in any thread."""
    return cell_texts(cells).dictionary_encode()


class LabelEncoder:
    """Assigns codes to the distinct texts of the label; for one thread, blocks in order.

    Attributes:
        texts: in order of first appearance, as written.
        missing_texts: those that mean a missing label, likewise.
    """

    def __init__(self, missing: Sequence[str] = ()) -> None:
        """Start without labels; ``missing`` are texts of rows without one."""
        self.texts: dict[bytes, int] = {}
        self.missing_texts: dict[bytes, int] = {}
        self._missing = _compile(missing)

    def add(self, cells: pa.DictionaryArray) -> Codes:
        """Encode a block, ``(rows,)`` int64; ``NO_LABEL`` or less without a label."""
        texts = cells.dictionary.to_pylist()
        codes = [self._code(text) for text in texts]
        indices = number_values(pc.fill_null(cells.indices, number_scalar(np.int32(NO_LABEL))))
        # The last one is for nulls, whose index is -1.
        code_of_index: Codes = np.array([*codes, NO_LABEL], dtype=np.int64)
        encoded: Codes = code_of_index[indices]
        return encoded

    def _code(self, text: bytes) -> int:
        if _filled(text, self._missing):
            return self.texts.setdefault(text, len(self.texts))
        if not text.strip(b" \t"):
            return NO_LABEL
        return NO_LABEL - 1 - self.missing_texts.setdefault(text, len(self.missing_texts))


class TextCollector:
    """Collects the distinct texts of columns; for one thread, blocks in any order.

    Attributes:
        missing: texts that mean a missing cell.
        counts: the number of cells of each text by column; empty unless they are counted.
    """

    def __init__(self, limit: int, missing: Sequence[str] = (), *, counts: bool = False) -> None:
        """Collect at most one more than ``limit`` texts of each column, and count their cells.

        ``missing`` are texts that mean a missing cell.
        """
        self._limit, self._counts = limit, counts
        self.missing = tuple(missing)
        self._empty = _compile(missing)
        self._texts: dict[int, set[bytes]] = {}
        self.counts: dict[int, Counter[bytes]] = {}

    def add(self, cells: Mapping[int, pa.DictionaryArray]) -> None:
        """Add the encoded cells of a block, by column."""
        for at, column in cells.items():
            texts = self._texts.setdefault(at, set())
            if len(texts) <= self._limit:
                found = [_filled(text, self._empty) for text in column.dictionary.to_pylist()]
                texts.update(found)
                texts.update([b""] if column.indices.null_count else [])
                if self._counts:
                    self._count(at, found, column)

    def _count(self, at: int, texts: Sequence[bytes], column: pa.DictionaryArray) -> None:
        filled = number_values(column.indices.drop_null())
        counts = self.counts.setdefault(at, Counter())
        for text, cells in zip(texts, np.bincount(filled, minlength=len(texts)), strict=True):
            counts[text] += int(cells)

    def by_column(self, *, initially_empty: Iterable[int]) -> dict[int, set[bytes]]:
        """Get the texts by column; ``initially_empty`` columns have missing cells."""
        for at in set(initially_empty) & self._texts.keys():
            self._texts[at].add(b"")
        return self._texts


def _compile(missing: Sequence[str]) -> re.Pattern[bytes]:
    return re.compile(missing_pattern(tuple(missing)).encode())


def _filled(text: bytes | None, missing: re.Pattern[bytes]) -> bytes:
    """Treat blanks, and texts that mean so, as a missing cell."""
    content = text.strip(b" \t") if text else b""
    return text if text and content and not missing.fullmatch(content) else b""


def without_undecodable(profile: TableProfile) -> TableProfile:
    """Leave out texts that are not UTF-8: their rows are bad."""
    texts = {at: set(filter(is_decodable, found)) for at, found in profile.texts.items()}
    return replace(profile, texts=texts)


def _advise_utf8(table: Table) -> str:
    """Name what makes the texts of a table UTF-8."""
    kind, encoding = Format(table.kind), table.dialect.encoding
    if not kind.is_text:
        return "store the column as text"
    if not kind.is_delimited:
        return "convert the table first, such as with iconv -f cp1252 -t utf-8"
    if encoding == UTF_8:
        return advise_encoding()
    return f"give another {option('encoding')} than {encoding.name}"


def decode_text(text: bytes, what: str, where: str, advice: str) -> str:
    """Decode UTF-8; ``what`` names the column in the ``SchemaError``."""
    try:
        return text.decode()
    except UnicodeDecodeError as exc:
        raise SchemaError(f"{where}: {what} has {text!r}, which is not UTF-8: {advice}") from exc
