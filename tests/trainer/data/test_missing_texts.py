from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.errors import BadRowsError, RequestError, UsageError
from runtime.io.charsets import parse_encoding
from runtime.schema.features import Feature, OneHot, Schema
from runtime.scoring.dataframes import read_features
from runtime.serving.v2.columns import InputColumns
from runtime.tables.options import ReadOptions
from trainer.data.cell_options import parse_missing
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]

MISSING = ("NA", "–", "n/a")
GAPS: Columns = {
    "x": ["1.5", "NA", " n/a ", "4"] * 10,
    "day": ["2024-01-01", "2024-01-02", "–", "NA"] * 10,
    "kind": ["web", "NA", "shop", " NA"] * 10,
    "y": ["a", "b"] * 20,
}
EMPTY: Columns = {
    name: [None if text.strip() in MISSING else text for text in texts]
    for name, texts in GAPS.items()
}


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet", "arrow"])
def test_texts_for_missing_are_empty_cells(save: Save, ending: str) -> None:
    """In columns of numbers, dates and categories of every format; the schema keeps them."""
    source = TableSource(save(f"t.{ending}", GAPS), "y", missing=MISSING)
    found = read_dataset(source, seed=1)
    plain = read_dataset(TableSource(save(f"e.{ending}", EMPTY), "y"), seed=1)
    assert found.digest() == plain.digest()
    assert found.schema.inputs == ("x", "day", "kind=", "kind=shop", "kind=web")
    assert [each.texts_of_missing for each in found.schema.features] == [MISSING] * 3
    assert msgspec.json.decode(found.schema.to_json(), type=Schema) == found.schema
    assert "missing_texts" not in plain.schema.to_json()


def test_dictionaries_and_other_encodings_have_them_too(save: Save, tmp_path: Path) -> None:
    """A dictionary column of Parquet, and a text that is another byte in the table."""
    expected = read_dataset(TableSource(save("t.csv", GAPS), "y", missing=MISSING), seed=1)
    columns = {name: pa.array(texts).dictionary_encode() for name, texts in GAPS.items()}
    parquet.write_table(pa.table(columns), tmp_path / "d.parquet")
    text = (tmp_path / "t.csv").read_text(encoding="utf-8")
    (tmp_path / "w.csv").write_text(text, encoding="cp1252")
    for name, reading in (
        ("d.parquet", ReadOptions()),
        ("w.csv", ReadOptions(encoding=parse_encoding("cp1252"))),
    ):
        source = TableSource(tmp_path / name, "y", missing=MISSING, reading=reading)
        assert read_dataset(source, seed=1).digest() == expected.digest(), name


def test_scoring_and_serving_know_them(save: Save) -> None:
    """A test set, data frames and requests, in a column that may have gaps."""
    test = save("test.jsonl", {name: texts[:4] for name, texts in GAPS.items()})
    source = TableSource(save("t.csv", GAPS), "y", missing=MISSING, test=test)
    dataset = read_dataset(source, seed=1)
    expected, schema = dataset.rows.test_features.numpy(), dataset.schema
    rows = {name: GAPS[name][:4] for name in schema.feature_names}
    sent = {name: [text.encode() for text in texts] for name, texts in rows.items()}
    numbers = np.array([1.5, np.nan, np.nan, 4.0])
    served = InputColumns(schema, max_bytes=1000).matrix({**sent, "x": numbers})
    for matrix in (read_features(rows, schema), read_features(pd.DataFrame(rows), schema), served):
        np.testing.assert_array_equal(matrix, expected)


def test_the_number_nan_is_missing_where_its_text_is(save: Save) -> None:
    """As in text: typed columns of other formats hold it as a number."""
    path = save("t.parquet", {"x": [1.0, float("nan")] * 10, "y": ["a", "b"] * 10})
    found = read_dataset(TableSource(path, "y", missing=("NaN",)), seed=1)
    text = save("t.csv", {"x": ["1", "NaN"] * 10, "y": ["a", "b"] * 10})
    plain = read_dataset(TableSource(text, "y", missing=("NaN",)), seed=1)
    assert found.digest() == plain.digest()
    with pytest.raises(BadRowsError, match="'nan': NaN or infinity"):
        read_dataset(TableSource(path, "y"), seed=1)


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.int16(),
        pa.float32(),
        pa.float64(),
        pa.decimal128(21, 2),
        pa.dictionary(pa.int8(), pa.float64()),
    ],
    ids=str,
)
def test_a_number_means_missing_in_every_type(
    save: Save, tmp_path: Path, kind: pa.DataType
) -> None:
    """As text in any spelling, and as a number of a typed column; also in a label."""
    gaps = [1, None, 3, 4, None] * 8
    expected = read_dataset(
        TableSource(save("e.csv", {"x": gaps, "k": gaps, "y": ["a", "b"] * 20}), "y"), seed=1
    )
    path = tmp_path / "t.parquet"
    x = pa.array([-999 if each is None else each for each in gaps])
    texts = x.cast(pa.float64() if pa.types.is_dictionary(kind) else kind)
    x = texts.dictionary_encode() if pa.types.is_dictionary(kind) else texts
    parquet.write_table(pa.table({"x": x, "k": x, "y": ["a", "b"] * 20}), path)
    found = read_dataset(TableSource(path, "y", missing=("-999.0",)), seed=1)
    assert found.digest() == expected.digest()
    label = TableSource(path, "k", features=("y",), missing=("-999",))
    with pytest.raises(BadRowsError, match=r"16 of 40 rows cannot be fitted"):
        read_dataset(label, seed=1)


@pytest.mark.parametrize("kind", [pa.string(), pa.date32(), pa.timestamp("us"), pa.timestamp("ms")])
def test_a_date_means_missing_in_every_type(save: Save, tmp_path: Path, kind: pa.DataType) -> None:
    """Such as the open end of a period; it is not the origin either."""
    days: list[str | None] = ["2024-01-01", None, "2024-01-03", "2024-01-04"] * 10
    columns: Columns = {"day": days, "y": ["a", "b"] * 20}
    expected = read_dataset(TableSource(save("e.csv", columns), "y"), seed=1)
    for open_end in ("9999-12-31", "1900-01-01"):
        path = tmp_path / "t.parquet"
        day = pa.array([each or open_end for each in days])
        typed = day if pa.types.is_string(kind) else day.cast(pa.date32()).cast(kind)
        parquet.write_table(pa.table({"day": typed, "y": columns["y"]}), path)
        found = read_dataset(TableSource(path, "y", missing=(open_end,)), seed=1)
        assert found.digest() == expected.digest()
        assert found.schema.features[0].origin == "2024-01-01"


def test_a_number_means_missing_in_categories_of_any_type(tmp_path: Path) -> None:
    """Codes of a typed column are texts of their own."""
    codes = pa.array([1.0, -999.0, 3.0, 3.0] * 10)
    parquet.write_table(pa.table({"k": codes, "y": ["a", "b"] * 20}), tmp_path / "t.parquet")
    source = TableSource(tmp_path / "t.parquet", "y", categories=("k",), missing=("-999",))
    assert len(read_dataset(source, seed=1).schema.features[0].categories) == 3
    assert "" in read_dataset(source, seed=1).schema.features[0].categories


def test_where_training_had_no_gap_numbers_are_missing_values(save: Save) -> None:
    """Typed columns of a test set, too: no other reason is given."""
    columns: Columns = {"x": list(range(20)), "y": ["a", "b"] * 10}
    test = save("test.parquet", {"x": [-999.0, 1.0], "y": ["a", "b"]})
    source = TableSource(save("t.csv", columns), "y", missing=("-999",), test=test)
    with pytest.raises(BadRowsError, match=r"record 1, column 'x': '-999.0': missing value"):
        read_dataset(source, seed=1)


def test_where_training_had_no_gap_they_are_missing_values(save: Save) -> None:
    """The reason is that of an empty cell, not that of other text."""
    full: Columns = {"x": list(range(20)), "kind": ["p", "q"] * 10, "y": ["a", "b"] * 10}
    source = TableSource(
        save("t.csv", full),
        "y",
        missing=("NA",),
        test=save("test.csv", {"x": ["NA", 1, "-"], "kind": ["p", "NA", "p"], "y": ["a"] * 3}),
    )
    with pytest.raises(BadRowsError) as refusal:
        read_dataset(source, seed=1)
    assert str(refusal.value).splitlines()[1:4] == [
        "  record 1 (line 2), column 'x': 'NA': missing value",
        "  record 2 (line 3), column 'kind': 'NA': missing value",
        "  record 3 (line 4), column 'x': '-': not a number",
    ]
    kind = Feature("kind", 0, 1, one_hot=OneHot(("p", "q"), "other"), missing_texts=("NA",))
    with pytest.raises(RequestError, match="'NA': missing value"):
        InputColumns(Schema("y", (kind,), ("a", "b")), 1000).matrix({"kind": [b"NA"]})


def test_a_label_that_is_missing_is_no_class(save: Save) -> None:
    """Its row has no label, as if the cell were empty."""
    path = save("t.csv", {"x": list(range(20)), "y": ["a", "b", "b", "NA"] * 5})
    with pytest.raises(BadRowsError, match=r"5 of 20 rows .*\n  record 4 \(line 5\), column 'y'"):
        read_dataset(TableSource(path, "y", missing=("NA",)), seed=1)


@pytest.mark.parametrize(
    ("texts", "message"),
    [((), "an empty text"), (("NA", " "), "an empty text"), (("NA", "-9,5"), "a point: -9.5")],
)
def test_what_cannot_mean_missing_is_a_usage_error(texts: tuple[str, ...], message: str) -> None:
    """An empty cell always does; a comma could separate thousands."""
    with pytest.raises(UsageError, match=message):
        parse_missing(texts)


def test_texts_are_sorted_without_blanks() -> None:
    """Their order makes no difference to the bytes of a bundle."""
    assert parse_missing([" NULL", "NA", "NA "]) == ("NA", "NULL")
    assert parse_missing(None) == ()


def test_few_words_for_missing_are_bad_cells_with_a_hint(save: Save) -> None:
    """Nearly all cells are numbers or dates: the others are listed, with the option."""
    columns: Columns = {
        "x": ["NA", "nan", *range(38)],
        "day": [*["2024-01-01", "2024-01-02"] * 19, "-", "2024-01-03"],
        "y": ["a", "b"] * 20,
    }
    path = save("t.csv", columns)
    with pytest.raises(BadRowsError) as refusal:
        read_dataset(TableSource(path, "y"), seed=1)
    assert str(refusal.value).splitlines()[4:6] == [
        "column 'x': if 'NA', 'nan' means missing, give --missing NA,nan",
        "column 'day': if '-' means missing, give --missing -",
    ]
    found = read_dataset(TableSource(path, "y", missing=("-", "NA", "nan")), seed=1)
    assert found.schema.inputs == ("x", "day")
