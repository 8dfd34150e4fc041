"""Arrow's kernels for texts, as the writers and readers of JSON use them: on bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.types as kinds

from runtime.tables.arrow import binary_scalar

if TYPE_CHECKING:
    import numpy.typing as npt


def join_parts(*parts: pa.Array | pa.Scalar) -> pa.Array:
    """Put the parts of each row side by side.

    Args:
        *parts: ``(rows,)`` binary each, or one value for all rows.

    Returns:
        ``(rows,)`` binary; null where a part is.
    """
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(*parts, binary_scalar(b""))


def counts_of(array: pa.Array) -> npt.NDArray[np.int32]:
    """View counts or lengths that a kernel gave: ``(rows,)`` int32, no nulls."""
    values = np.frombuffer(array.buffers()[1] or b"", dtype=np.int32)
    return values[array.offset : array.offset + len(array)]


def as_text(values: pa.Array) -> pa.Array:
    """Call bytes a text, whether they decode or not: ``(rows,)`` string."""
    import pyarrow.compute as pc

    return pc.cast(values, options=pc.CastOptions(target_type=pa.string(), allow_invalid_utf8=True))


def is_text(kind: pa.DataType) -> bool:
    """Say whether values of a type are texts or bytes."""
    return bool(
        kinds.is_string(kind)
        or kinds.is_large_string(kind)
        or kinds.is_string_view(kind)
        or kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_binary_view(kind)
        or kinds.is_fixed_size_binary(kind)
    )


def is_list(kind: pa.DataType) -> bool:
    """Say whether values of a type are lists of any layout."""
    return bool(
        kinds.is_list(kind)
        or kinds.is_large_list(kind)
        or kinds.is_fixed_size_list(kind)
        or kinds.is_list_view(kind)
        or kinds.is_large_list_view(kind)
    )
