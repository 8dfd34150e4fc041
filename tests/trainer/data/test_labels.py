from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.errors import SchemaError
from trainer.data.dataset import JoinedLabels
from trainer.data.reading import read_dataset
from trainer.data.report import format_report
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]


def table_of(*labels: object) -> Columns:
    """A table with six rows of each label, in turns."""
    return {"x": list(range(6 * len(labels))), "y": [*labels] * 6}


@pytest.mark.parametrize(
    ("labels", "classes", "joined"),
    [
        (("1", "0", "1.0"), ("0", "1"), {"1": ("1.0",)}),
        (("01", "1", "0", "1.00"), ("0", "1"), {"1": ("01", "1.00")}),
        ((" 1", "1", "0"), ("0", "1"), {"1": (" 1",)}),
        (("0.0", "1.0"), ("0.0", "1.0"), {}),
        (("2.50", "2.5", ".5", "0.5"), ("0.5", "2.5"), {"0.5": (".5",), "2.5": ("2.50",)}),
        (("1e1", "10", "9"), ("9", "10"), {"10": ("1e1",)}),
        (("TRUE", "false", "True"), ("True", "false"), {"True": ("TRUE",)}),
        (("TRUE", "true", "FALSE"), ("FALSE", "true"), {"true": ("TRUE",)}),
        (("1", "1.0", "x"), ("1", "1.0", "x"), {}),
        (("a", "A", "b"), ("A", "a", "b"), {}),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_equal_values_are_one_class(
    save: Save,
    ending: str,
    labels: tuple[str, ...],
    classes: tuple[str, ...],
    joined: dict[str, tuple[str, ...]],
) -> None:
    """Of numbers and booleans; the name is the plainest spelling, and the others are a finding."""
    path = save(f"t.{ending}", table_of(*labels))
    dataset = read_dataset(TableSource(path, "y"), seed=1)
    assert dataset.schema.classes == classes
    assert dataset.check is not None
    assert (dataset.check.joined_labels or ()) == tuple(
        JoinedLabels(name, spellings, 6 * len(spellings)) for name, spellings in joined.items()
    )


def test_the_finding_says_how_to_keep_them_apart(save: Save) -> None:
    """Classes that are similar, but not all numbers, stay apart with a finding."""
    source = TableSource(save("t.csv", table_of("1", "01", "0")), "y")
    dataset = read_dataset(source, seed=1)
    assert dataset.check is not None
    assert format_report(dataset.check, source).splitlines()[-1] == (
        "  class '1': also spelled '01' (6 rows); if these are other classes, write them as texts"
    )
    mixed = read_dataset(TableSource(save("t.csv", table_of("1", "1.0", "x")), "y"), seed=1)
    assert mixed.check is not None
    assert mixed.check.similar_classes == (("1", "1.0"),)


def test_many_classes_that_are_numbers_are_a_finding(save: Save) -> None:
    """They are rather values of a quantity, whose order has no influence."""
    for count, is_found in ((19, False), (20, True)):
        source = TableSource(save("t.csv", table_of(*map(str, range(count)))), "y")
        check = read_dataset(source, seed=1).check
        assert check is not None
        found = f"  {count} classes, all of them numbers: each value is a class of its own; bin a "
        assert (found in format_report(check, source)) is is_found
    texts = TableSource(save("t.csv", table_of("x", *map(str, range(20)))), "y")
    check = read_dataset(texts, seed=1).check
    assert check is not None
    assert "all of them numbers" not in format_report(check, texts)


def test_one_value_in_two_spellings_is_one_class(save: Save) -> None:
    """Two spellings do not make a classifier."""
    path = save("t.csv", table_of("1", "1.0"))
    with pytest.raises(SchemaError, match="label 'y' is '1' in every row"):
        read_dataset(TableSource(path, "y"), seed=1)


def test_numbers_of_every_type_are_the_same_classes(save: Save, tmp_path: Path) -> None:
    """Whole floats and decimals of Parquet, whole numbers of CSV; in the test set, too."""
    expected = read_dataset(TableSource(save("t.csv", table_of("0", "1")), "y"), seed=1)
    for kind in (pa.float64(), pa.float32(), pa.int8(), pa.decimal128(19, 0)):
        columns = table_of(0, 1)
        typed = pa.table({"x": columns["x"], "y": pa.array(columns["y"]).cast(kind)})
        path = tmp_path / "t.parquet"
        parquet.write_table(typed, path)
        found = read_dataset(TableSource(path, "y"), seed=1)
        assert (found.schema, found.digest()) == (expected.schema, expected.digest())
    test = save("test.csv", {"x": [1, 2, 3], "y": ["1.0", "0", "01"]})
    tested = read_dataset(TableSource(path, "y", test=test), seed=1)
    assert tested.rows.test_labels.tolist() == [1, 0, 1]
