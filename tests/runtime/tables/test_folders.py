"""Folders and patterns of tables as one table, with the keys of their folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.encoding import Encoder
from runtime.errors import DataError, SchemaError, UsageError
from runtime.schema.features import Date, Feature, OneHot
from runtime.tables.folders import open_tables
from runtime.tables.options import ReadOptions
from runtime.tables.partitions import PartitionValue, partition_keys
from runtime.tables.text import cell_texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.tables.base import Parsed


def save(root: Path, files: Mapping[str, str | pa.Table]) -> Path:
    """Write files by their relative paths."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            (root / name).write_text(content)
        else:
            pq.write_table(content, root / name)
    return root


def read(source: Path) -> list[dict[str, str | None]]:
    """Read all records as text."""
    with open_tables(source, ReadOptions(), (), option="data") as table:
        columns = range(len(table.columns))
        return [
            {
                name: None if cell is None else cell.decode()
                for name, cell in zip(table.columns, record, strict=True)
            }
            for block in table.blocks(columns)
            for record in zip(
                *(cell_texts(cells).to_pylist() for cells in block.select(columns).columns),
                strict=True,
            )
        ]


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("year=2024/a.csv", {"year": "2024"}),
        ("in/year=2024/day=01/a.csv", {"year": "2024", "day": "01"}),
        ("when=2024-01-01%2012%3A00/a.csv", {"when": "2024-01-01 12:00"}),
        ("a%3Db=c=d/a.csv", {"a=b": "c=d"}),
        ("city=S%C3%A3o/a.csv", {"city": "S\u00e3o"}),
        ("share=50%/a.csv", {"share": "50%"}),
        ("latin=%E9/a.csv", {"latin": "%E9"}),
        ("x=__HIVE_DEFAULT_PARTITION__/a.csv", {"x": None}),
        ("x=/a.csv", {"x": ""}),
        ("x=1/x=2/a.csv", {"x": "2"}),
        ("=1/x/a=b.csv", {}),
    ],
)
def test_keys_are_read_from_folders(path: str, keys: dict[str, str | None]) -> None:
    """As Hive writes them; the name of the file has none."""
    assert partition_keys(Path(path)) == {name: PartitionValue(text) for name, text in keys.items()}


def test_files_are_one_table_in_the_order_of_their_paths(tmp_path: Path) -> None:
    """Columns are matched by name, delimiters detected by file, markers skipped on every level."""
    root = save(
        tmp_path / "in",
        {
            "b.csv": "y;x\n3;4\n",
            "a.csv": "x,y\n1,2\n",
            "c.tsv": "y\tx\n5\t6\n",
            "d.jsonl": '{"y": 7}\n',
            "_SUCCESS": "",
            "_temporary/0/x.csv": "broken",
            ".a.csv.crc": "crc",
            "sub/_delta_log/0.json": "{}",
            "sub/_x.csv": "broken",
        },
    )
    rows = read(root)
    assert [(row["x"], row["y"]) for row in rows] == [
        ("1", "2"), ("4", "3"), ("6", "5"), (None, "7")
    ]  # fmt: skip
    assert list(rows[0]) == ["x", "y"]
    assert read(root / "*.csv") == rows[:2]


def test_keys_are_columns(tmp_path: Path) -> None:
    """After those of the files; a column of a file comes before a key of its name."""
    root = save(
        tmp_path,
        {
            "year=2023/_k=a/p.csv": "x\n1\n",
            "year=__HIVE_DEFAULT_PARTITION__/_k=b/p.csv": "x\n2\n",
            "year=9/_k=c/p.csv": "year,x\n2025,3\n",
        },
    )
    assert read(root) == [
        {"x": "1", "year": "2023", "_k": "a"},
        {"x": "3", "year": "2025", "_k": "c"},
        {"x": "2", "year": None, "_k": "b"},
    ]


ONE = pa.table({"x": [1], "y": [2.5]})


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        (
            {"a.csv": "x,y\n1,2\n", "b.csv": "x\n1\n"},
            SchemaError,
            "b.csv: column 'y' is missing, which {root}/a.csv has",
        ),
        (
            {"a.csv": "x\n1\n", "b.csv": "x,y\n1,2\n"},
            SchemaError,
            "a.csv: column 'y' is missing, which {root}/b.csv has",
        ),
        (
            {"k=1/a.csv": "x\n1\n", "b.csv": "x\n1\n"},
            SchemaError,
            "b.csv: column 'k' is missing, which {root}/k=1/a.csv has",
        ),
        (
            {"a.parquet": ONE, "b.parquet": pa.table({"x": ["1"], "y": [2.5]})},
            SchemaError,
            "b.parquet: a column has another type than in the files before",
        ),
        ({"a.csv": "x,y\n", "b.parquet": ONE}, SchemaError, "a.csv is text and {root}/b.parquet"),
        ({"a.csv": "x\n1\n", "b.docx": "?"}, UsageError, "b.docx: the extension .docx"),
        (
            {"_a.csv": "x\n1\n"},
            DataError,
            "or . are skipped, and lists of rejected rows); see data",
        ),
        ({"a.csv": "x\n1\n", "b.csv": ""}, DataError, "b.csv is empty"),
    ],
    ids=["missing", "more", "key", "types", "text and typed", "no table", "skipped", "empty"],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, files: dict[str, Any], error: type[Exception], message: str
) -> None:
    """One message names the file."""
    with pytest.raises(error) as refusal:
        read(save(tmp_path, files))
    assert message.format(root=tmp_path) in str(refusal.value)


def test_types_of_numbers_may_differ(tmp_path: Path) -> None:
    """The type of the table holds those of all files."""
    other = pa.table({"y": pa.array([2], pa.int8()), "x": pa.array([None], pa.null())})
    root = save(tmp_path, {"a.parquet": ONE, "k=v/b.parquet": other, "k=w/c.parquet": ONE})
    (root / "a.parquet").unlink()
    with open_tables(root, ReadOptions(), (), option="data") as table:
        assert table.arrow_schema is not None
        assert {field.name: str(field.type) for field in table.arrow_schema} == {
            "y": "double", "x": "int64", "k": "string"
        }  # fmt: skip


FEATURES = (
    Feature("year", 0, 1),
    Feature("x", 0, 1),
    Feature("region", 0, 1, one_hot=OneHot(("", "north", "south"), "error")),
    Feature("day", 0, 1, missing="imputed", date=Date("2024-01-01")),
)


def parse(root: Path, features: tuple[Feature, ...]) -> list[Parsed]:
    with open_tables(root, ReadOptions(), (), option="data") as table:
        columns = [table.columns.index(feature.name) for feature in features]
        encoder = Encoder(features)
        return [block.parse(columns, encoder) for block in table.blocks(sorted(columns))]


def test_keys_are_features(tmp_path: Path) -> None:
    """Numbers, categories and dates, encoded as cells of text are."""
    root = save(
        tmp_path,
        {
            "year=2024/region=south/day=2024-01-03/p.csv": "x\n5\n?\n6\n",
            "year=2025/region=/day=__HIVE_DEFAULT_PARTITION__/p.csv": "x\n7\n",
        },
    )
    first, second = parse(root, FEATURES)
    assert first.features.tolist() == [[2024, 5, 0, 0, 1, 2], [2024, 6, 0, 0, 1, 2]]
    assert [(row.record, row.line, row.column) for row in first.bad] == [(2, 3, "x")]
    assert first.bad[0].source.endswith("day=2024-01-03/p.csv")
    assert second.features[:, :5].tolist() == [[2025, 7, 1, 0, 0]]
    assert parse(root, FEATURES[:2])[1].features.tolist() == [[2025, 7]]
    assert parse(root, FEATURES[:1])[0].features.tolist() == [[2024]] * 3


@pytest.mark.parametrize(
    ("year", "region", "column", "reason"),
    [
        ("x", "north", "year", "not a number"),
        ("__HIVE_DEFAULT_PARTITION__", "north", "year", "missing value"),
        ("1", "West", "region", "a category that training did not have"),
    ],
)
def test_a_key_that_cannot_be_scored_makes_bad_rows(
    tmp_path: Path, year: str, region: str, column: str, reason: str
) -> None:
    """All of its files."""
    root = save(tmp_path, {f"year={year}/region={region}/p.csv": "x\n5\n6\n"})
    (parsed,) = parse(root, FEATURES[:3])
    assert parsed.features.shape == (0, 5)
    assert [(row.record, row.column, row.reason) for row in parsed.bad] == [
        (1, column, reason),
        (2, column, reason),
    ]
