"""The first pass over a table: its rows, labels, column types and distinct texts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.io.parallel import available_processors, map_ordered
from runtime.monitoring.accuracy import MAX_CLASSES
from runtime.tables.arrays import number_scalar, number_values
from runtime.tables.text import cell_texts
from trainer.data.column_types import (
    DATE,
    TEXT,
    ColumnTypeDetector,
    EarliestDays,
    find_earliest_days,
    type_of_arrow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import numpy.typing as npt

    from runtime.tables.base import Block, Table
    from trainer.data.column_types import ColumnType
    from trainer.data.source import ColumnRoles

    Codes = npt.NDArray[np.int64]


MAX_CATEGORIES = 256  # distinct texts of a column: one input each
NO_LABEL = -1  # code of a row without a label


@dataclass(frozen=True)
class TableProfile:
    """What a table contains.

    Attributes:
        codes: ``(rows,)`` int64, positions in ``labels``; ``NO_LABEL`` without a label.
        labels: the distinct labels as written, in order of first appearance.
        column_types: types of the feature columns, by position in the table.
        texts: the distinct texts of the text columns, by position; an empty text is a missing
            cell; at most one more than ``MAX_CATEGORIES``.
        first_days: the earliest day of the date columns, by position, since 1970-01-01.
        date_formats: formats of the date columns, by position; absent for ISO 8601.
    """

    codes: Codes
    labels: tuple[bytes, ...]
    column_types: dict[int, ColumnType]
    texts: dict[int, set[bytes]]
    first_days: dict[int, int] = field(default_factory=dict)
    date_formats: dict[int, str] = field(default_factory=dict)


def profile_table(
    table: Table,
    roles: ColumnRoles,
    *,
    where: str,
    date_format: str = "",
    missing: Sequence[str] = (),
) -> TableProfile:
    """Read a table once.

    ``where`` names it in errors, ``date_format`` is one beside ISO 8601, ``missing`` are texts of
    missing cells.
    """
    known = _types_by_schema(table, roles.features) | dict.fromkeys(roles.categories, TEXT)
    known |= dict.fromkeys(roles.date_formats, DATE)
    unknown = [at for at in roles.features if at not in known]
    detector = ColumnTypeDetector(
        sorted(table.decimals), known, unknown, date_format=date_format, missing=missing
    )
    empty = frozenset(text.encode() for text in missing)
    detector.date_formats.update(roles.date_formats)
    labels, texts, first_days = (
        LabelEncoder(empty),
        TextCollector(MAX_CATEGORIES, empty),
        EarliestDays(),
    )
    codes: list[Codes] = []

    def encode(block: Block) -> tuple[dict[int, pa.DictionaryArray], dict[int, int]]:
        columns = [
            roles.label,
            *(at for at in roles.features if detector.column_types.get(at) == TEXT),
        ]
        dates = [at for at in roles.features if detector.column_types.get(at) == DATE]
        cells = block.select([*columns, *dates]).columns
        encoded = dict(zip(columns, map(encode_cells, cells), strict=False))
        dated = dict(zip(dates, cells[len(columns) :], strict=True))
        return encoded, find_earliest_days(dated, detector.date_formats)

    read = [at for at in roles.features if known.get(at) in {None, TEXT, DATE}]
    blocks = detector.inspect(table.blocks([roles.label, *read]))
    for cells, days in map_ordered(encode, blocks, threads=available_processors()):
        codes.append(labels.add(cells.pop(roles.label)))
        texts.add(cells)
        first_days.add(days)
        if len(labels.texts) > MAX_CLASSES:
            raise SchemaError(_describe_many(table.columns[roles.label], where))
    all_codes = np.concatenate(codes or [np.empty(0, np.int64)])
    distinct = texts.by_column(initially_empty=detector.initially_empty)
    return TableProfile(
        all_codes,
        tuple(labels.texts),
        detector.column_types,
        distinct,
        first_days.days,
        detector.date_formats,
    )


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
    """

    def __init__(self, missing: frozenset[bytes] = frozenset()) -> None:
        """Start without labels; ``missing`` are texts of rows without one."""
        self.texts: dict[bytes, int] = {}
        self._missing = missing

    def add(self, cells: pa.DictionaryArray) -> Codes:
        """Encode a block, ``(rows,)`` int64; ``NO_LABEL`` for null and for blank cells."""
        texts = cells.dictionary.to_pylist()
        codes = [self._code(_filled(text, self._missing)) for text in texts]
        indices = number_values(pc.fill_null(cells.indices, number_scalar(np.int32(NO_LABEL))))
        # The last one is for nulls, whose index is -1.
        code_of_index: Codes = np.array([*codes, NO_LABEL], dtype=np.int64)
        encoded: Codes = code_of_index[indices]
        return encoded

    def _code(self, text: bytes) -> int:
        return self.texts.setdefault(text, len(self.texts)) if text else NO_LABEL


class TextCollector:
    """Collects the distinct texts of columns; for one thread, blocks in any order."""

    def __init__(self, limit: int, missing: frozenset[bytes] = frozenset()) -> None:
        """Collect at most one more than ``limit`` texts of each column.

        ``missing`` are texts of missing cells.
        """
        self._limit = limit
        self._missing = missing
        self._texts: dict[int, set[bytes]] = {}

    def add(self, cells: Mapping[int, pa.DictionaryArray]) -> None:
        """Add the encoded cells of a block, by column."""
        for at, column in cells.items():
            texts = self._texts.setdefault(at, set())
            if len(texts) <= self._limit:
                found = column.dictionary.to_pylist()
                texts.update(_filled(text, self._missing) for text in found)
                texts.update([b""] if column.indices.null_count else [])

    def by_column(self, *, initially_empty: Iterable[int]) -> dict[int, set[bytes]]:
        """Get the texts by column; ``initially_empty`` columns have missing cells."""
        for at in set(initially_empty) & self._texts.keys():
            self._texts[at].add(b"")
        return self._texts


def _filled(text: bytes | None, missing: frozenset[bytes]) -> bytes:
    """Treat blanks, and texts that mean so, as a missing cell."""
    content = text.strip(b" \t") if text else b""
    return text if text and content and content not in missing else b""


def decode_text(text: bytes, what: str, where: str) -> str:
    """Decode UTF-8; ``what`` names the column in the ``SchemaError``."""
    try:
        return text.decode()
    except UnicodeDecodeError as exc:
        raise SchemaError(
            f"{where}: {what} has {text!r}, which is not UTF-8; set the encoding of the table, "
            "for example --encoding cp1252"
        ) from exc
