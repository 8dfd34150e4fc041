"""Parse the feature cells of a block of records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as arrow_csv

from runtime.io.charsets import UTF_8
from runtime.tables.arrays import (
    binary_array,
    binary_scalar,
    bool_array,
    float64_values,
    value_bytes,
)
from runtime.tables.base import BadRow, Parsed, RowIssue
from runtime.tables.cells import parse_numbers, split_missing
from runtime.tables.csv.records import count_lines, find_delimiters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.io.charsets import Encoding
    from runtime.schema.features import Float32Matrix
    from runtime.tables.base import CellEncoder, Column
    from runtime.tables.csv.reader import Records
    from runtime.tables.dialect import Dialect


TOO_FEW = "too few fields"
TOO_MANY = "too many fields"


def parse_features(
    block: Records, columns: Sequence[str], features: Sequence[int], encoder: CellEncoder
) -> Parsed:
    """Parse the feature cells of a block."""
    matrix = _parse_clean(block, len(columns), features, encoder)
    if matrix is not None:
        return Parsed(matrix, None, ())
    return _parse_dirty(block, columns, features, encoder)


def describe_bad_rows(
    block: Records, n_columns: int, issues: Mapping[int, RowIssue]
) -> tuple[BadRow, ...]:
    """Describe records that cannot be scored."""
    return tuple(_bad_rows(block, n_columns, issues))


def fit_to_header(block: Records, n_columns: int, misfits: Sequence[int]) -> pa.Array:
    """View records as binary; pad or cut those whose field count differs from the header's."""
    records = block.raw_records()
    if not misfits:
        return records
    import pyarrow.compute as pc

    fitted = []
    for index in misfits:
        text = block.text(index)
        line_break = block.data[block.bounds[index] : block.bounds[index + 1] - len(text)]
        fitted.append(line_break + _fit_record(text, n_columns, block.dialect.delimiter)[0])
    mask = np.zeros(len(block), dtype=np.bool_)
    mask[list(misfits)] = True
    return pc.replace_with_mask(records, bool_array(mask), binary_array(fitted))


def read_cell_texts(block: Records, n_columns: int, columns: Sequence[int]) -> list[pa.Array]:
    """Read cells as binary, without quotes."""
    misfits = np.flatnonzero(_count_fields(block) != n_columns).tolist()
    data = bytes(value_bytes(fit_to_header(block, n_columns, misfits)))
    table = _read_csv(data, n_columns, columns, block.dialect, [pa.binary()] * len(columns))
    return [table.column(str(index)).combine_chunks() for index in columns]


def _parse_clean(
    block: Records, n_columns: int, features: Sequence[int], encoder: CellEncoder
) -> Float32Matrix | None:
    """Parse a block; None when a record is bad."""
    texts = [encoder.is_text(feature) for feature in range(len(features))]
    types = [pa.binary() if text else pa.float64() for text in texts]
    try:
        table = _read_csv(block.data, n_columns, features, block.dialect, types, encoder.null_texts)
    except pa.ArrowInvalid:
        return None
    columns = [table.column(str(index)) for index in features]
    if table.num_rows != len(block) or _has_bad_nulls(columns, encoder):
        return None
    encoded = encoder.encode(
        [
            _read_texts(column, block.dialect) if text else _read_numbers(column, feature, encoder)
            for feature, (column, text) in enumerate(zip(columns, texts, strict=True))
        ]
    )
    return encoded.matrix if encoded.usable.all() else None


def _has_bad_nulls(columns: Sequence[pa.ChunkedArray], encoder: CellEncoder) -> bool:
    """Whether a feature that may not be missing has nulls."""
    return any(
        column.null_count and not encoder.allows_missing(feature)
        for feature, column in enumerate(columns)
    )


def _read_numbers(column: pa.ChunkedArray, feature: int, encoder: CellEncoder) -> Column:
    """Convert a column of numbers for the encoder."""
    if not encoder.allows_missing(feature):
        return float64_values(column)
    return split_missing(column.combine_chunks())


def _parse_dirty(
    block: Records, columns: Sequence[str], features: Sequence[int], encoder: CellEncoder
) -> Parsed:
    """Parse a block with bad records."""
    n_fields = _count_fields(block)
    fits = n_fields == len(columns)
    cells = _read_cells(block, fits, len(columns), features)
    encoded = encoder.encode(
        [
            _read_texts(column, block.dialect)
            if encoder.is_text(feature)
            else encoder.with_missing(
                feature,
                parse_numbers(column, block.dialect.decimal),
                # Texts for missing are in UTF-8.
                _read_texts(column, block.dialect) if encoder.null_texts else column,
            )
            for feature, column in enumerate(cells)
        ]
    )
    matrix, usable = encoded.matrix, encoded.usable
    good = fits & usable.all(axis=1)
    issues: dict[int, RowIssue] = {}
    for index in np.flatnonzero(~good).tolist():
        if fits[index]:
            first = int(np.argmin(usable[index]))
            cell: bytes = cells[first][index].as_py()
            value = block.dialect.encoding.decode(cell, "backslashreplace")
            reason = encoder.explain(first, cell, block.dialect)
            issues[index] = RowIssue(reason, columns[features[first]], value)
        else:
            issues[index] = _field_count_issue(int(n_fields[index]), len(columns))
    return Parsed(matrix[good], good, describe_bad_rows(block, len(columns), issues))


def _read_cells(
    block: Records, fits: npt.NDArray[np.bool_], n_columns: int, features: Sequence[int]
) -> list[pa.ChunkedArray]:
    """Read the feature cells as binary; undefined for records that do not fit the header."""
    data = block.data
    if not fits.all():
        import pyarrow.compute as pc

        # Its line break must not merge with those around it.
        placeholder = binary_scalar(b"\r" + block.dialect.delimiter * (n_columns - 1) + b"0")
        data = bytes(value_bytes(pc.if_else(bool_array(fits), block.raw_records(), placeholder)))
    table = _read_csv(data, n_columns, features, block.dialect, [pa.binary()] * len(features))
    if table.num_rows != len(block):
        raise RuntimeError(
            f"found {len(block)} records from {block.first_record} on, parsed {table.num_rows}"
        )
    return [table.column(str(index)) for index in features]


def _read_csv(
    data: bytes,
    n_columns: int,
    features: Sequence[int],
    dialect: Dialect,
    types: Sequence[pa.DataType],
    null_texts: Sequence[str] = (),
) -> pa.Table:
    """Parse columns of a block with pyarrow; columns are named by their index.

    ``null_texts`` are null in columns of numbers.
    """
    if n_columns == 1:  # an empty line is a record, also as the first or last one
        data = _without_first_break(data) + b"\r"  # does not merge with a line break before it
    names = [str(index) for index in features]
    return arrow_csv.read_csv(
        pa.BufferReader(data),
        read_options=arrow_csv.ReadOptions(
            use_threads=False,
            block_size=len(data) + 1,
            column_names=[str(index) for index in range(n_columns)],
        ),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.delimiter.decode(),
            newlines_in_values=True,
            ignore_empty_lines=n_columns > 1,
        ),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=names,
            column_types=dict(zip(names, types, strict=True)),
            null_values=["", *null_texts],
            strings_can_be_null=False,
            decimal_point=dialect.decimal,
        ),
    )


def _without_first_break(data: bytes) -> bytes:
    return data[2:] if data.startswith(b"\r\n") else data[1:]


def _field_count_issue(found: int, expected: int) -> RowIssue:
    reason = TOO_FEW if found < expected else TOO_MANY
    return RowIssue(f"{reason} ({found} instead of {expected})")


def to_utf8(column: pa.Array, encoding: Encoding) -> pa.Array:
    """Transcode text to UTF-8, ``(rows,)`` binary; undecodable bytes are kept."""
    if encoding == UTF_8 or encoding.is_wide:  # wide encodings are transcoded on reading
        return column
    texts = (encoding.decode(cell, "surrogateescape") for cell in column.to_pylist())
    return binary_array([text.encode("utf-8", "surrogateescape") for text in texts])


def _read_texts(column: pa.ChunkedArray, dialect: Dialect) -> pa.Array:
    """Convert a column of texts to ``(rows,)`` binary in UTF-8."""
    return to_utf8(column.combine_chunks(), dialect.encoding)


def _fit_record(text: bytes, n_columns: int, delimiter: bytes) -> tuple[bytes, bytes]:
    """Pad or cut a record to the header's field count; return it and its extra fields."""
    found = find_delimiters(text, delimiter[0])
    if len(found) < n_columns:
        return text + delimiter * (n_columns - 1 - len(found)), b""
    end = int(found[n_columns - 1])
    return text[:end], text[end + 1 :]


def _count_fields(block: Records) -> npt.NDArray[np.int64]:
    """Count the fields of each record: ``(records,)`` int64."""
    delimiters = find_delimiters(block.data, block.dialect.delimiter[0])
    return np.diff(np.searchsorted(delimiters, block.bounds)) + 1


def _bad_rows(block: Records, n_columns: int, issues: Mapping[int, RowIssue]) -> Iterator[BadRow]:
    line, counted = block.first_line, 0
    for index, issue in issues.items():
        text = block.text(index)
        start = int(block.bounds[index + 1]) - len(text)
        line += count_lines(block.data[counted:start])
        counted = start
        extra_fields = (
            b"" if issue.column else _fit_record(text, n_columns, block.dialect.delimiter)[1]
        )
        yield BadRow(
            record=block.first_record + index,
            line=line,
            column=issue.column,
            value=issue.value,
            reason=issue.reason,
            text=text,
            extra_fields=block.dialect.encoding.decode(extra_fields, "surrogateescape"),
        )
