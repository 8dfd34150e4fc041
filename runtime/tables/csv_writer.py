"""Append columns to records and report the ones left out, as delimited text.

In: blocks as they were read and arrays of the new columns' cells. Out: bytes.
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from runtime.tables.arrow import binary_array, binary_scalar, number_array, whole_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from runtime.tables.feature_cells import BadRow

REJECTS_HEADER = ("record", "line", "column", "value", "reason", "text")


def encode_cell(text: str) -> bytes:
    """Write one cell, quoted where it has to be."""
    return encode_record([text]).removesuffix(b"\n") if text else b""


def encode_record(cells: Sequence[str]) -> bytes:
    """Write one record of text cells, quoted where they have to be, with a line end."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(cells)  # what it ends with, it quotes
    return buffer.getvalue().removesuffix("\r\n").encode(errors="surrogateescape") + b"\n"


def choose_text(choices: Sequence[bytes], index: npt.NDArray[np.int64]) -> pa.Array:
    """Look up one of a few texts for each row.

    Args:
        choices: the texts.
        index: ``(rows,)`` int64, positions in ``choices``.

    Returns:
        ``(rows,)`` binary.
    """
    return binary_array(choices).take(number_array(index))


def format_floats(values: npt.NDArray[np.float32]) -> pa.Array:
    """Write float32 numbers in the fewest digits that read back as the same number.

    Args:
        values: ``(rows,)`` float32.

    Returns:
        ``(rows,)`` binary.
    """
    return pc.cast(number_array(values), pa.string()).cast(pa.binary())


def join_fields(fields: Sequence[pa.Array]) -> memoryview:
    """Put the fields of each row side by side and the rows one after another.

    Args:
        fields: ``(rows,)`` binary each, delimiters and line breaks included.

    Returns:
        The bytes.
    """
    return whole_bytes(pc.binary_join_element_wise(*fields, binary_scalar(b"")))


def encode_rejects(bad: Iterable[BadRow]) -> bytes:
    """Write bad rows as records of the rejects file.

    Bytes that are no UTF-8 come out as they were read.
    """
    return b"".join(
        encode_record(
            [
                str(row.record),
                str(row.line),
                row.column,
                row.value,
                row.reason,
                row.text.decode(errors="surrogateescape"),
            ]
        )
        for row in bad
    )
