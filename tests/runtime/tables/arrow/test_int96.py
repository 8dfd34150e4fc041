"""Timestamps that Parquet stores as INT96."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.errors import DataError
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.opening import open_table
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.predictor import Predictor

FIRST, LAST = "0001-01-01", "9999-12-31 23:59:59.999999"
LAST_US = 253_402_300_799_999_999  # since 1970
NANOSECONDS = pa.array([1577840461123456789], pa.timestamp("ns"))


def us(*texts: str | None) -> pa.Array:
    return pa.array(texts, pa.string()).cast(pa.timestamp("us"))


def save(path: Path, columns: dict[str, pa.Array]) -> Path:
    """Write columns uncompressed, their timestamps as INT96."""
    pq.write_table(
        pa.table(columns),
        path,
        use_deprecated_int96_timestamps=True,
        use_dictionary=False,
        compression="none",
    )
    return path


def read(path: Path) -> pa.Table:
    with open_table(path, ReadOptions(), ()) as table:
        columns = range(len(table.columns))
        return pa.Table.from_batches([block.select(columns) for block in table.blocks(columns)])


NESTED = pa.list_(pa.struct([("at", pa.timestamp("us"))]))


@pytest.mark.parametrize(
    ("column", "unit"),
    [
        (us("2020-01-01", None), "ns"),
        (NANOSECONDS, "ns"),
        (us(None, None), "ns"),
        (us(FIRST, LAST, None, "1970-01-01"), "us"),
        (us("2262-04-11 23:47:16.854776"), "us"),
        (pa.array([[{"at": LAST_US}], None, []], NESTED), "us"),
        (pa.array([[("a", LAST_US)]], pa.map_(pa.string(), pa.timestamp("us"))), "us"),
    ],
    ids=["today", "nanoseconds", "null", "all years", "just beyond", "nested", "map"],
)
def test_instants_are_exact(tmp_path: Path, column: pa.Array, unit: str) -> None:
    """A file has nanoseconds, or microseconds where years need them; the instants are the same."""
    found = read(save(tmp_path / "t.parquet", {"at": column})).column("at")
    assert f"timestamp[{unit}]" in str(found.type)
    assert found.combine_chunks().cast(column.type) == column


def test_output_has_the_same_instants(predictor: Predictor, tmp_path: Path) -> None:
    """A carried column is unchanged, in text and in Parquet."""
    rows = {"price": pa.array([7.5]), "rating": pa.array([3.0]), "until": us(LAST)}
    source = save(tmp_path / "t.parquet", rows)
    score_file(predictor, source, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column("until").combine_chunks() == us(LAST)
    score_file(predictor, source, tmp_path / "out.csv", Options(columns=("until",)))
    assert b"9999-12-31 23:59:59.999999," in (tmp_path / "out.csv").read_bytes()


def test_digits_are_not_cut(tmp_path: Path) -> None:
    """Where one value needs nanoseconds and another microseconds, neither is damaged."""
    source = save(tmp_path / "t.parquet", {"until": us(LAST), "at": NANOSECONDS})
    with pytest.raises(DataError, match=r"no type holds .* \(until, at\): .*TIMESTAMP_MICROS"):
        read(source)


def test_years_beyond_every_type_are_refused(tmp_path: Path) -> None:
    """The largest day of INT96 is five million years ahead."""
    source = save(tmp_path / "t.parquet", {"at": us("1970-01-01")})
    midnight, epoch, far = bytes(8), (2440588).to_bytes(4, "little"), b"\xff\xff\xff\x7f"
    content = source.read_bytes()
    assert content.count(midnight + epoch) == 1
    source.write_bytes(content.replace(midnight + epoch, midnight + far))
    with pytest.raises(DataError, match=r"no type holds .* beyond the year 294,246"):
        read(source)
