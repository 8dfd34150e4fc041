from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from runtime.encoding import UNSEEN, Encoder
from runtime.errors import RequestError
from runtime.schema.features import Feature, OneHot, Schema
from runtime.scoring.dataframes import read_features
from runtime.serving.v2.columns import InputColumns
from runtime.tables.dialect import COMMA
from runtime.tables.opening import open_table
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.schema.features import Unseen


def feature(*texts: str, unseen: Unseen = "error", folded: bool = False) -> Feature:
    one_hot = OneHot(texts, unseen, folded=True) if folded else OneHot(texts, unseen)
    return Feature("c", 0, 1, one_hot=one_hot)


def encode(one: Feature, *texts: str | None) -> tuple[list[int], list[bool]]:
    """Encode cells: the index of each category, -1 for none, and whether it is usable."""
    cells = pa.array([None if text is None else text.encode() for text in texts], pa.binary())
    encoded = Encoder([one]).encode([cells])
    found = np.where(encoded.matrix.any(axis=1), encoded.matrix.argmax(axis=1), -1)
    return found.tolist(), encoded.usable[:, 0].tolist()


BOOLEANS = ["true", "False", "TRUE", " 1 ", "0", "1.0"]


@pytest.mark.parametrize("learnt", [("false", "true"), ("False", "True"), ("", "FALSE", "TRUE")])
def test_booleans_have_one_set_of_spellings(learnt: tuple[str, ...]) -> None:
    """In any case, and 1 and 0; other texts are bad cells."""
    found, usable = encode(feature(*learnt), *BOOLEANS, "yes", "2")
    offset = len(learnt) - 2
    assert [at - offset for at in found[:6]] == [1, 0, 1, 1, 0, 1]
    assert usable == [True] * 6 + [False] * 2


def test_booleans_are_alike_in_every_format(tmp_path: Path) -> None:
    """Text, JSON, Parquet, data frames and requests."""
    one = feature("false", "true")
    schema = Schema("y", (one,), ("a", "b"))
    (tmp_path / "t.csv").write_text("c,x\nTRUE,1\nFalse,2\n")
    (tmp_path / "n.csv").write_text("c,x\n1,1\n0,2\n")
    (tmp_path / "t.jsonl").write_text('{"c":true}\n{"c":"False"}\n')
    (tmp_path / "n.jsonl").write_text('{"c":1}\n{"c":0}\n')
    for name, values in (("b", [True, False]), ("i", [1, 0]), ("f", [1.0, 0.0])):
        parquet.write_table(pa.table({"c": values}), tmp_path / f"{name}.parquet")
    for path in tmp_path.iterdir():
        with open_table(path, ReadOptions(), ("c",)) as table:
            (block,) = table.blocks([0])
            parsed = block.parse([0], Encoder([one]))
        assert parsed.features.tolist() == [[0, 1], [1, 0]], path.name
    for frame in (pd.DataFrame({"c": [True, False]}), {"c": ["True", "0"]}, {"c": [1, 0]}):
        assert read_features(frame, schema).tolist() == [[0, 1], [1, 0]]
    served = InputColumns(schema, 1000).matrix({"c": [b"TRUE", b"0"]})
    assert served.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("known", "text"),
    [("2", "2.0"), ("2.0", "2"), ("007", "7"), ("7", "007"), ("web", "Web "), ("1e3", "1000")],
)
@pytest.mark.parametrize("unseen", ["error", "other"])
def test_another_spelling_is_a_bad_cell_with_a_hint(known: str, text: str, unseen: Unseen) -> None:
    """It is never scored as one of no known category."""
    one = feature(known, "x", unseen=unseen)
    assert encode(one, text, known) == ([-1, 0], [False, True])
    reason = f"{UNSEEN} (it had {known!r})"
    assert Encoder([one]).explain(0, text.encode(), COMMA) == reason
    with pytest.raises(RequestError) as refusal:
        InputColumns(Schema("y", (one,), ("a", "b")), 1000).matrix({"c": [text.encode()]})
    assert reason in str(refusal.value)


def test_what_is_written_another_way_is_not_the_same() -> None:
    """A category that differs is unseen: scored as none, or bad."""
    assert encode(feature("2", "web", unseen="other"), "3.0", "shop") == ([-1, -1], [True, True])
    assert encode(feature("2", "web"), "3.0", "shop") == ([-1, -1], [False, False])
    assert encode(feature("1", "1.0"), "1.0", "1") == ([1, 0], [True, True])


def test_folded_categories_ignore_case_and_blanks() -> None:
    """The others are unseen; a missing cell stays one."""
    one = feature("", "straße", "web", unseen="other", folded=True)
    found = encode(one, "WEB", " web  ", "STRASSE", "shop", " ", None)
    assert found == ([2, 2, 1, -1, 0, 0], [True] * 6)
    assert json.loads(Schema("y", (one,), ("a", "b")).to_json())["features"][0]["one_hot"] == {
        "categories": ["", "straße", "web"],
        "unseen": "other",
        "folded": True,
    }
