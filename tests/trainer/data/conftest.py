"""One small table in every format that the runtime reads."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from runtime.surfaces import command_surface

Columns = dict[str, list[Any]]
Save = Callable[[str, Columns], Path]
NAMES = ("größe cm", "a,b", "Σ")
CLASSES = ("mid dle", "no", "über")


@pytest.fixture(scope="module", autouse=True)
def _as_a_command() -> Iterator[None]:
    """Name options as flags: these tests are about what ``trainer fit`` says of a table."""
    with command_surface():
        yield


@pytest.fixture(scope="session")
def columns() -> Columns:
    """300 rows of three features and a label of three classes that they determine."""
    numbers = np.random.default_rng(3).normal(size=(300, 3)).round(3) * [1, 10, 100]
    at = (numbers[:, 0] > 0).astype(int) + (numbers[:, 2] > 50)
    table: Columns = {name: column.tolist() for name, column in zip(NAMES, numbers.T, strict=True)}
    return {**table, "what kind": [CLASSES[place] for place in at]}


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """``save(name, columns)``: a table in the format that the name ends in."""

    def write(name: str, columns: Columns) -> Path:
        write_table(tmp_path / name, columns)
        return tmp_path / name

    return write


@pytest.fixture
def table(tmp_path: Path) -> Callable[[str], Path]:
    """``table(text)``: a CSV file with it."""

    def write(text: str) -> Path:
        path = tmp_path / "t.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def write_table(path: Path, columns: Columns) -> None:
    """Write columns in the format that the path's name ends in."""
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".parquet":
        parquet.write_table(pa.table(columns), path)
    elif path.suffix == ".arrow":
        feather.write_feather(pa.table(columns), path)
    elif path.suffix == ".jsonl":
        lines = [json.dumps(dict(zip(columns, row, strict=True))) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    else:
        sign = "\t" if path.suffix == ".tsv" else ","
        lines = [sign.join(_quoted(cell, sign) for cell in row) for row in (columns, *rows)]
        text = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)


def _quoted(cell: object, sign: str) -> str:
    text = "" if cell is None else str(cell)
    return f'"{text}"' if sign in text else text
