"""Tables to score, and a folder for them, in memory where there is room.

``products`` is what ``trainer sample`` writes, 13 bytes a row: ``7.29,2.90,yes``. ``wide`` is more
typical, 33 bytes a row: ``1234567,7.290112,2.900345,pen,yes``.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trainer.data.products import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator

TableName = Literal["products", "wide"]
BYTES_A_ROW: dict[TableName, int] = {"products": 14, "wide": 34}
_MEMORY = Path("/dev/shm")  # noqa: S108 - a temporary folder inside it, of a random name
_CHUNK_ROWS = 2**18
_ROW_GROUP = 2**20
_BAD_LINES = [
    "?",
    '{"id": 1, "price": "cheap", "rating": 2}',
    '{"id": 1, "price": 1}',
    '{"id": 1, "price": null, "rating": 2}',
    '{"id": 1, "price": 1, "price": 1, "rating": 2}',
]
_NAMES = ["pen", "mug", "cup", "bag", "hat", "tie", "jar", "fan", "map", "key"]


@contextmanager
def work_folder(needed: int) -> Iterator[Path]:
    """Make a folder for tables: in memory where there is room, else where temporary files go.

    Args:
        needed: bytes of all tables together.

    Yields:
        The folder; it is gone afterwards.
    """
    roomy = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2 * needed
    with tempfile.TemporaryDirectory(dir=_MEMORY if roomy else None) as folder:
        yield Path(folder)


def describe_folder(folder: Path) -> str:
    """Say where the files of a measurement were."""
    return "Files in memory (/dev/shm)." if folder.parent == _MEMORY else "Files on disk."


def write_table(path: Path, name: TableName, rows: int) -> None:
    """Write a table; the bytes depend on name and rows alone."""
    with path.open("wb") as stream:
        if name == "products":
            write_sample(stream, rows)
            return
        stream.write(b"id,price,rating,name,popular\n")
        generator = np.random.default_rng(1)
        for start in range(0, rows, _CHUNK_ROWS):
            stream.write(_wide_rows(generator, start, min(_CHUNK_ROWS, rows - start)))


def write_parquet(path: Path, rows: int) -> None:
    """Write the columns of ``wide`` as Parquet: numbers as float64, pyarrow's defaults."""
    generator = np.random.default_rng(1)
    with ExitStack() as stack:
        writer = None
        for start in range(0, rows, _ROW_GROUP):
            columns = _draw(generator, start, min(_ROW_GROUP, rows - start))
            table = pa.table({name: pa.array(column) for name, column in columns.items()})
            for at, name in enumerate(("price", "rating"), 1):
                table = table.set_column(at, name, table.column(name).cast(pa.float64()))
            writer = writer or stack.enter_context(pq.ParquetWriter(path, table.schema))
            writer.write_table(table)


def write_json_lines(path: Path, rows: int, *, bad_every: int = 0) -> None:
    """Write the columns of ``wide`` but the label as JSON Lines, one row in ``bad_every`` bad."""
    generator = np.random.default_rng(1)
    with path.open("w") as stream:
        for start in range(0, rows, _CHUNK_ROWS):
            columns = _draw(generator, start, min(_CHUNK_ROWS, rows - start)).values()
            cells = [pc.cast(pa.array(column), pa.string()).to_pylist() for column in columns]
            for row, (number, price, rating, name, _) in enumerate(zip(*cells, strict=True), start):
                line = f'{{"id": {number}, "price": {price}, "rating": {rating}, "name": "{name}"}}'
                if bad_every and row % bad_every == bad_every - 1:
                    line = _BAD_LINES[row // bad_every % len(_BAD_LINES)]
                stream.write(f"{line}\n")


def _wide_rows(generator: np.random.Generator, start: int, count: int) -> memoryview:
    """Write ``count`` rows as text, the first with the identifier ``start``."""
    columns = _draw(generator, start, count)
    cells = [pc.cast(pa.array(column), pa.string()) for column in columns.values()]
    lines = pc.binary_join_element_wise(*cells, ",")
    lines = pc.binary_join_element_wise(lines, "", "\n")
    return memoryview(
        pc.binary_join(pa.ListArray.from_arrays([0, count], lines), "")[0].as_buffer()
    )


def _draw(generator: np.random.Generator, start: int, count: int) -> dict[str, object]:
    """Draw products: ``(count,)`` each, price and rating float32 of seven digits."""
    price = generator.uniform(1, 10, count).round(6).astype(np.float32)
    rating = generator.uniform(1, 5, count).round(6).astype(np.float32)
    return {
        "id": np.arange(start, start + count),
        "price": price,
        "rating": rating,
        "name": pa.array(_NAMES).take(pa.array(generator.integers(0, len(_NAMES), count))),
        "popular": pa.array(["no", "yes"]).take(pa.array((price + rating > 10).astype(np.int8))),
    }
