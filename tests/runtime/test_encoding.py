from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet

from runtime.encoding import PLAIN, UNSEEN, Encoder
from runtime.errors import RequestError
from runtime.io.charsets import parse_encoding
from runtime.schema.features import Feature, OneHot, Schema
from runtime.schema.matrix import usable_values
from runtime.serving.models.input_validation import InputValidator
from runtime.tables.cells import MISSING, NOT_A_NUMBER, NOT_FINITE, UNDECODABLE
from runtime.tables.dialect import COMMA
from runtime.tables.opening import open_table
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.schema.features import Unseen
    from runtime.tables.base import Parsed

ENDINGS = ("csv", "jsonl", "parquet", "arrow")


def category(name: str, *texts: str, unseen: Unseen = "error") -> Feature:
    return Feature(name, 0, 1, one_hot=OneHot(texts, unseen))


def schema_of(*features: Feature) -> Schema:
    return Schema("y", features, ("a", "b"))


def as_cells(*cells: bytes | None) -> pa.Array:
    return pa.array(cells, pa.binary())


def test_inputs_are_the_numbers_and_one_for_each_category() -> None:
    """The model's matrix has one input per category."""
    schema = schema_of(
        Feature("x", 0, 9), category("größe", "S", "M l"), Feature("z", 1, 2), category("c", "")
    )
    assert schema.feature_names == ("x", "größe", "z", "c")
    assert schema.inputs == ("x", "größe=S", "größe=M l", "z", "c=")
    assert (schema.n_features, schema.n_inputs, schema.is_numeric) == (4, 5, False)
    assert [(span.start, span.stop) for span in schema.spans] == [(0, 1), (1, 3), (3, 4), (4, 5)]
    assert {at: feature.name for at, feature in schema.numeric_features.items()} == {0: "x", 3: "z"}


def test_a_schema_of_numbers_is_written_as_before() -> None:
    """Schemas with and without categories round-trip through JSON."""
    plain = schema_of(Feature("x", 0, 9))
    assert "one_hot" not in plain.to_json()
    assert plain.inputs == plain.feature_names
    mixed = schema_of(category("c", "ä", "b", unseen="other"))
    assert json.loads(mixed.to_json())["features"][0]["one_hot"] == {
        "categories": ["ä", "b"],
        "unseen": "other",
    }
    assert msgspec.json.decode(mixed.to_json(), type=Schema) == mixed


@pytest.mark.parametrize(
    "make",
    [
        lambda: OneHot(()),
        lambda: OneHot(("a", "a")),
        lambda: OneHot(("a",), "error", 3),
        lambda: Feature("c", 0, 2, one_hot=OneHot(("a",))),
        lambda: Feature("c", 0, 1, quantiles=(0.0,) * 11, one_hot=OneHot(("a",))),
        lambda: Feature("c", 0, 1, missing="imputed", one_hot=OneHot(("a",))),
    ],
    ids=["none", "twice", "rare but refused", "another range", "quantiles", "gaps"],
)
def test_categories_that_cannot_be_are_refused(make: object) -> None:
    """A column of categories has some, each once, and ranges from 0 to 1."""
    with pytest.raises(ValueError, match=r"categor|needs"):
        make()  # type: ignore[operator]


def test_a_category_is_one_where_it_is_and_zero_elsewhere() -> None:
    """The encoding of every cell there can be, and which of them are usable."""
    encoder = Encoder([category("c", "a", "", "ü ", unseen="error"), Feature("x", 0, 1)])
    cells = as_cells(b"a", "ü ".encode(), b" \t", None, b"", b"A", "ü".encode(), b"\xff")
    encoded = encoder.encode([cells, np.arange(8.0)])
    assert encoded.matrix[:5].tolist() == [
        [1, 0, 0, 0],
        [0, 0, 1, 1],
        [0, 1, 0, 2],
        [0, 1, 0, 3],
        [0, 1, 0, 4],
    ]
    assert encoded.usable[:, 0].tolist() == [True] * 5 + [False] * 3
    assert encoded.usable[:, 1].all()
    assert encoded.matrix.dtype == np.float32
    assert encoded.matrix.flags.c_contiguous


def test_other_takes_unseen_texts_but_no_missing_cells() -> None:
    """An unseen text is 0 everywhere; a missing cell is bad unless training had some."""
    encoder = Encoder([category("c", "a", "b", unseen="other")])
    encoded = encoder.encode([as_cells(b"b", b"new", b"  ", None)])
    assert encoded.matrix.tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert encoded.usable[:, 0].tolist() == [True, True, False, False]


def test_undecodable_bytes_are_no_category() -> None:
    """Not even another one: a table in the wrong encoding would be scored."""
    encoder = Encoder([category("c", "a", unseen="other")])
    cells = as_cells(b"a", "gr\xfcn".encode("cp1252"), "grün".encode(), None)
    assert encoder.encode([cells]).usable[:, 0].tolist() == [True, False, True, False]
    assert encoder.explain(0, b"gr\xfcn", COMMA) == UNDECODABLE


@pytest.mark.parametrize(
    ("at", "cell", "reason"),
    [
        (0, b"new", UNSEEN),
        (0, b"\xff", UNDECODABLE),
        (0, b" ", MISSING),
        (0, None, MISSING),
        (1, b"abc", NOT_A_NUMBER),
        (1, b"", MISSING),
    ],
)
def test_a_reason_is_given_for_a_bad_cell(at: int, cell: bytes | None, reason: str) -> None:
    """The reason of a bad cell depends on the type of its feature."""
    assert Encoder([category("c", "a"), Feature("x", 0, 1)]).explain(at, cell, COMMA) == reason


def test_numbers_alone_are_encoded_plainly() -> None:
    """Without categories the encoder is the plain one, and the matrix the columns."""
    encoder = Encoder([Feature("x", 0, 1), Feature("z", 0, 1)])
    assert encoder.is_numeric
    columns = [np.array([1.5, np.nan, 1e39]), np.array([2.0, 3.0, 4.0])]
    for plain in (encoder, PLAIN):
        encoded = plain.encode(columns)
        assert encoded.usable.tolist() == [[True, True], [False, True], [False, True]]
        assert encoded.matrix[0].tolist() == [1.5, 2.0]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=6)


@given(st.lists(TEXTS, min_size=1, max_size=5, unique=True), st.lists(TEXTS, max_size=12))
def test_a_row_has_its_category_alone(categories: list[str], cells: list[str]) -> None:
    """For any texts: at most one 1 in a row, that of its text, and it is usable exactly then."""
    encoder = Encoder([category("c", *categories)])
    encoded = encoder.encode([as_cells(*(cell.encode() for cell in cells))])
    for row, cell, usable in zip(encoded.matrix, cells, encoded.usable[:, 0], strict=True):
        known = cell if cell in categories or cell.strip(" \t") else ""
        assert row.tolist() == [float(known == text) for text in categories]
        assert bool(usable) == (known in categories)


ROWS: list[dict[str, object]] = [
    {"c": "rot", "x": 1.5, "n": "a"},
    {"c": "grün", "x": -2.25, "n": "b"},
    {"c": "lila", "x": 3.0, "n": "c"},
    {"c": None, "x": 4.0, "n": "d"},
    {"c": "rot", "x": None, "n": "e"},
    {"c": "blau, hell", "x": 0.5, "n": "f"},
]


def write(path: Path, rows: list[dict[str, object]], ending: str) -> Path:
    """Write rows in a format."""
    if ending == "csv":
        lines = [
            f'"{row["c"] or ""}",{"" if row["x"] is None else row["x"]},{row["n"]}' for row in rows
        ]
        path.write_text("\n".join(["c,x,n", *lines]), encoding="utf-8")
    elif ending == "jsonl":
        path.write_text("\n".join(map(json.dumps, rows)))
    else:
        save = parquet.write_table if ending == "parquet" else feather.write_feather
        save(pa.Table.from_pylist(rows), path)
    return path


def parse(path: Path, *features: Feature, reading: ReadOptions | None = None) -> list[Parsed]:
    """Read the features of a file as scoring does."""
    schema = schema_of(*features)
    with open_table(path, reading or ReadOptions(), schema.feature_names) as table:
        places = schema.bind(table.columns)
        return [block.parse(places, Encoder(features)) for block in table.blocks(places)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_reads_the_same(tmp_path: Path, ending: str) -> None:
    """The same rows, the same bad records with the same reasons, in a block with bad records."""
    path = write(tmp_path / f"t.{ending}", ROWS, ending)
    features = (Feature("x", 0, 1), category("c", "blau, hell", "grün", "rot"))
    (parsed,) = parse(path, *features)
    assert parsed.features.tolist() == [
        [1.5, 0.0, 0.0, 1.0],
        [-2.25, 0.0, 1.0, 0.0],
        [0.5, 1.0, 0.0, 0.0],
    ]
    null = "null" if ending == "jsonl" else ""
    assert [(row.record, row.column, row.value, row.reason) for row in parsed.bad] == [
        (3, "c", "lila", UNSEEN),
        (4, "c", null, MISSING),
        (5, "x", null, MISSING),
    ]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_clean_block_reads_the_same(tmp_path: Path, ending: str) -> None:
    """Where every record is good, missing categories and unseen ones included."""
    rows = [row for row in ROWS if row["x"] is not None]
    path = write(tmp_path / f"t.{ending}", rows, ending)
    (parsed,) = parse(path, category("c", "", "rot", unseen="other"), Feature("x", 0, 1))
    assert parsed.bad == ()
    assert parsed.features.tolist() == [
        [0, 1, 1.5],
        [0, 0, -2.25],
        [0, 0, 3],
        [1, 0, 4],
        [0, 0, 0.5],
    ]


def test_booleans_and_whole_numbers_are_categories_by_their_text(tmp_path: Path) -> None:
    """A boolean is ``true`` or ``false`` in every format; a number has its shortest digits."""
    features = (category("b", "false", "true"), category("n", "1", "20"))
    rows: list[dict[str, object]] = [{"b": True, "n": 20}, {"b": False, "n": 1}]
    (tmp_path / "t.csv").write_text("b,n\ntrue,20\nfalse,1\n")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    for ending in ("csv", "jsonl", "parquet"):
        (parsed,) = parse(tmp_path / f"t.{ending}", *features)
        assert parsed.features.tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]], ending


def test_a_category_is_read_in_the_tables_encoding(tmp_path: Path) -> None:
    """``grün`` in cp1252 is the category ``grün``."""
    (tmp_path / "t.csv").write_bytes("x,c\n1,grün\n2,rot\n".encode("cp1252"))
    reading = ReadOptions(encoding=parse_encoding("cp1252"))
    features = (category("c", "grün", "rot"), Feature("x", 0, 1))
    (parsed,) = parse(tmp_path / "t.csv", *features, reading=reading)
    assert parsed.features.tolist() == [[1, 0, 1], [0, 1, 2]]


def test_dictionaries_and_large_texts_are_categories(tmp_path: Path) -> None:
    """All of Arrow's text types are supported."""
    texts = pa.array(["rot", "grün", None])
    for kind in (pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())):
        column = (
            texts.dictionary_encode().cast(kind) if "dictionary" in str(kind) else texts.cast(kind)
        )
        sink = io.BytesIO()
        feather.write_feather(pa.table({"c": column}), sink)
        (tmp_path / "t.arrow").write_bytes(sink.getvalue())
        (parsed,) = parse(tmp_path / "t.arrow", category("c", "", "grün", "rot"))
        assert parsed.features.tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]


def gap(name: str) -> Feature:
    return Feature(name, 0, 9, missing="imputed")


def test_a_gap_is_nan_and_a_bad_number_is_not() -> None:
    """Missing cells are distinguished from bad ones."""
    encoder = Encoder([gap("x"), Feature("z", 0, 1)])
    assert not encoder.is_numeric
    numbers = np.array([1.0, np.nan, np.nan, 1e39])
    missing = np.array([False, True, False, False])
    encoded = encoder.encode([(numbers, missing), np.arange(4.0)])
    assert encoded.usable[:, 0].tolist() == [True, True, False, False]
    assert encoded.matrix[0].tolist() == [1.0, 0.0]
    assert np.isnan(encoded.matrix[1, 0])
    assert encoder.explain(0, b"nan", COMMA) == NOT_FINITE
    schema = schema_of(category("c", "a", "b"), gap("x"), Feature("z", 0, 1))
    assert schema.imputed_inputs == (2,)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("bad", [False, True], ids=["clean", "with bad rows"])
def test_gaps_are_read_alike_in_every_format(tmp_path: Path, ending: str, *, bad: bool) -> None:
    """An empty cell, a null, and a key that is not there, in a block with and without bad rows."""
    rows = ROWS if bad else [row for row in ROWS if row["c"] in {"rot", "grün"}]
    path = write(tmp_path / f"t.{ending}", rows, ending)
    (parsed,) = parse(path, gap("x"), category("c", "grün", "rot"))
    rows_found = parsed.features.tolist()
    found = [[None if np.isnan(value) else value for value in row] for row in rows_found]
    assert found == [[1.5, 0, 1], [-2.25, 1, 0], [None, 0, 1]]
    assert [row.record for row in parsed.bad] == ([3, 4, 6] if bad else [])


@pytest.mark.parametrize("cell", ["nan", "inf", "x", "1e39", "NaN"])
def test_a_bad_number_is_no_gap(tmp_path: Path, cell: str) -> None:
    """NaN and infinities that are written out stay bad cells where numbers may be missing."""
    path = tmp_path / "t.csv"
    path.write_text(f"x,z\n1,1\n{cell},2\n ,3\n,4\n")
    (parsed,) = parse(path, gap("x"), Feature("z", 0, 1))
    assert [row.record for row in parsed.bad] == [2]
    assert parsed.features[:, 1].tolist() == [1, 3, 4]
    assert np.isnan(parsed.features[1:, 0]).all()


def test_nan_is_usable_in_a_gap_alone() -> None:
    """Infinities are never usable, NaN only in imputed inputs."""
    schema = schema_of(gap("x"), Feature("z", 0, 1))
    inputs = np.array([[1, 2], [np.nan, 2], [1, np.nan], [np.inf, 2]], np.float32)
    expected = [[True, True], [True, True], [True, False], [False, True]]
    assert usable_values(schema, inputs).tolist() == expected
    validator = InputValidator(schema)
    validator.validate(inputs[:2])
    for row, column in ((2, "z"), (3, "x")):
        with pytest.raises(RequestError, match=f"column '{column}'"):
            validator.validate(inputs[row : row + 1])
