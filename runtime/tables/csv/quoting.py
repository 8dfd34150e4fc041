"""Encode cells, records and bad rows as delimited text; labels and probabilities by lookup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import binary_array, binary_scalar, number_array, value_bytes
from runtime.tables.dialect import COMMA, Dialect

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from runtime.tables.base import BadRow

MIN_PROBABILITY: Final = np.float32(0.5)
MAX_LABELS: Final = 8  # a label's table takes 250 kB, copied with each block
MIN_ROWS: Final = 4096  # below, the tables cost more than they save: 15 ms
_GROUP: Final = 10_000
_ONE: Final = _GROUP**2  # in units of the eighth decimal
_PREFIXES: Final = 2 * (_GROUP + 1)  # per label: first four digits, then without trailing zeros


def encode_cell(text: str, dialect: Dialect = COMMA) -> bytes:
    """Encode a cell, quoted if necessary."""
    return quote(dialect.encoding.encode(text), dialect)


def encode_record(cells: Sequence[str | bytes], dialect: Dialect = COMMA) -> bytes:
    """Encode a record with a line end, its cells quoted if necessary."""
    encoded = [
        quote(cell, dialect) if isinstance(cell, bytes) else encode_cell(cell, dialect)
        for cell in cells
    ]
    return (dialect.delimiter.join(encoded) or b'""') + b"\n"  # a blank line is not a record


def quote(cell: bytes, dialect: Dialect) -> bytes:
    """Quote a cell if necessary."""
    if not any(char in cell for char in (dialect.delimiter, b'"', b"\n", b"\r")):
        return cell
    return b'"' + cell.replace(b'"', b'""') + b'"'


def format_floats(values: pa.Array, dialect: Dialect = COMMA) -> pa.Array:
    """Format float32 numbers in the fewest digits that parse to the same number."""
    import pyarrow.compute as pc

    text = pc.cast(values, pa.string())
    if dialect.decimal != ".":
        text = pc.replace_substring(text, ".", dialect.decimal)
        if dialect.decimal.encode() == dialect.delimiter:
            text = pc.replace_substring_regex(text, "^.*,.*$", r'"\0"')
    return text.cast(pa.binary())


def join_fields(fields: Sequence[pa.Array]) -> memoryview:
    """Concatenate the fields of each row, then the rows."""
    import pyarrow.compute as pc

    separator = binary_scalar(b"")
    joined = pc.binary_join_element_wise(
        *fields, separator, null_handling="replace", null_replacement=b""
    )
    return value_bytes(joined)


def encode_rejects(
    bad: Iterable[BadRow], dialect: Dialect = COMMA, *, with_source: bool = False
) -> bytes:
    """Encode bad rows as records of the rejects file, of a table of several files with the file."""
    return b"".join(
        encode_record(
            [
                *([row.source] if with_source else []),
                str(row.record),
                "" if row.line is None else str(row.line),
                row.column,
                row.value,
                row.reason,
                row.text,
            ],
            dialect,
        )
        for row in bad
    )


class LabelledDigits:
    """Lookup tables of the texts of labels and probabilities."""

    def __init__(self, labels: Sequence[bytes]) -> None:
        """Build the tables."""
        first = [f"0.{digits:04}" for digits in range(_GROUP)]
        stripped = [text.rstrip("0") for text in first]
        prefixes = [text.encode() for text in (*first, "", *stripped, "1")]
        self._first = binary_array([label + prefix for label in labels for prefix in prefixes])
        self._last = binary_array([f"{n:04}".rstrip("0").encode() for n in range(_GROUP)])

    def append(
        self, records: pa.Array, label: npt.NDArray[np.int32], probability: npt.NDArray[np.float32]
    ) -> memoryview:
        """Append label and probability to each record; concatenate the records."""
        import pyarrow.compute as pc

        rows = len(records)
        digits = _eight_decimals(probability)
        high = digits // np.int32(_GROUP)  # eight times as fast as divmod
        low = digits - high * np.int32(_GROUP)
        index = np.empty((rows, 3), dtype=np.int32)
        index[:, 0] = np.arange(rows, dtype=np.int32)
        index[:, 1] = label * np.int32(_PREFIXES) + high
        index[:, 1] += (low == 0) * np.int32(_GROUP + 1) + np.int32(rows)
        index[:, 2] = low + np.int32(rows + len(self._first))
        pieces = pa.concat_arrays([records, self._first, self._last])
        return value_bytes(pc.take(pieces, number_array(index.reshape(-1)), boundscheck=False))


def append_few(
    labels: Sequence[bytes],
    records: pa.Array,
    label: npt.NDArray[np.int32],
    probability: npt.NDArray[np.float32],
) -> memoryview:
    """Append to a few records as ``LabelledDigits`` does, without tables and Arrow's kernels."""
    digits = _eight_decimals(probability).tolist()
    texts = ["1" if n == _ONE else f"0.{n:08}".rstrip("0") for n in digits]
    rows = zip(records.to_pylist(), label.tolist(), texts, strict=True)
    return memoryview(
        b"".join(record + labels[index] + text.encode() for record, index, text in rows)
    )


def _eight_decimals(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Round to the shortest decimal that parses back, in units of the eighth decimal."""
    exact = probability.astype(np.float64)
    seven = np.rint(exact * 1e7)
    is_exact = (seven / 1e7).astype(np.float32) == probability
    return np.where(is_exact, seven * 10, np.rint(exact * 1e8)).astype(np.int32)
