"""Values of Arrow's types as text."""

from __future__ import annotations

import pyarrow as pa
import pytest

from runtime.tables.text import cell_texts


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        ([0, None, 2**62], pa.timestamp("us"),
         [b"1970-01-01 00:00:00.000000", None, b"148108-07-06 14:00:27.387904"]),
        ([2**62, -62135596800000], pa.timestamp("ms", "UTC"),
         [b"146140482-04-24 15:36:27.904Z", b"0001-01-01 00:00:00.000Z"]),
        ([2932896, 2**31 - 1], pa.date32(), [b"9999-12-31", b"5881580-07-11"]),
        ([86_400_000 * 10**9], pa.date64(), [b"2739877-01-03"]),
    ],
)  # fmt: skip
def test_every_instant_has_a_text(
    values: list[int | None], kind: pa.DataType, texts: list[bytes | None]
) -> None:
    """Arrow writes no years beyond 32767; a carried column must not lose them."""
    stored = pa.array(values, pa.int32() if pa.types.is_date32(kind) else pa.int64())
    assert cell_texts(stored.cast(kind)).to_pylist() == texts
