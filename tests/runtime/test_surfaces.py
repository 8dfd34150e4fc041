"""Messages name options as whoever reads them gives them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from runtime.errors import BadRowsError, SchemaError
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_bytes
from runtime.surfaces import (
    advise,
    advise_encoding,
    advise_loosely,
    command_surface,
    either,
    option,
    request_surface,
)
from runtime.tables.formats import Format

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from runtime.predictor import Predictor
    from runtime.surfaces import OptionValue


def surface(name: str) -> AbstractContextManager[None]:
    """The surface of that name."""
    if name in {"http", "page", "mlflow"}:
        return request_surface(name)  # type: ignore[arg-type]  # one of its three
    return command_surface() if name == "command" else nullcontext()


@pytest.mark.parametrize(
    ("name", "value", "flag", "parameter", "query"),
    [
        ("bad_rows", "null", "--bad-rows null", 'bad_rows="null"', "?bad_rows=null"),
        ("bad_rows", None, "--bad-rows", "bad_rows", "?bad_rows"),
        ("loose_header", True, "--loose-header", "loose_header=True", "?loose_header=true"),
        ("delimiter", ";", "--delimiter ';'", 'delimiter=";"', "?delimiter=;"),
        ("delimiter", "\t", "--delimiter tab", r'delimiter="\t"', "?delimiter=%09"),
        ("validation", 0.1, "--validation 0.1", "validation=0.1", "validation"),
        ("exclude", ["a b", "c"], "--exclude 'a b,c'", 'exclude=["a b", "c"]', "exclude"),
        (
            "format",
            "jsonl",
            "--format jsonl",
            'format="jsonl"',
            "Content-Type: application/x-ndjson",
        ),
        (
            "encoding",
            "cp1252",
            "--encoding cp1252",
            'encoding="cp1252"',
            "Content-Type: text/csv; charset=cp1252",
        ),
    ],
)
def test_options_are_spelled_for_the_reader(
    name: str, value: OptionValue, flag: str, parameter: str, query: str
) -> None:
    """A flag can be pasted into a shell, a parameter into Python, a query into a URL."""
    spelled = {}
    for each in ("command", "python", "http"):
        with surface(each):
            spelled[each] = option(name, value)
    assert spelled == {"command": flag, "python": parameter, "http": query}


def test_an_option_of_an_mlflow_model_is_an_entry_of_what_it_passes_on() -> None:
    """Of the parameters of a prediction, or of the configuration of the model."""
    with surface("mlflow"):
        assert option("bad_rows", "null") == 'params={"bad_rows": "null"}'
        assert option("key", blank="FILE") == 'model_config={"key": "FILE"}'
        assert option("loose_header", True) == "the loose header"


@pytest.mark.parametrize(
    ("reader", "advice"),
    [
        ("command", "rename it, or ignore case and blanks with --loose-header"),
        ("python", "rename it, or ignore case and blanks with loose_header=True"),
        ("http", "rename it, or ignore case and blanks with ?loose_header=true"),
        ("page", "rename it"),
        ("mlflow", "rename it"),
    ],
)
def test_nobody_is_advised_what_they_cannot_do(reader: str, advice: str) -> None:
    """The page has no options: its advice is about the table, or none."""
    with surface(reader):
        assert either("rename it", advise_loosely()) == advice
        assert (advise("columns", ["a"]) == "") == (reader in {"http", "page", "mlflow"})
        assert bool(advise_encoding()) == (reader != "mlflow")


@pytest.mark.parametrize(
    ("reader", "advice"),
    [
        ("command", "give --decimal ,"),
        ("python", 'give decimal=","'),
        ("http", "give ?decimal=,"),
        ("page", "choose the other decimal sign under Options"),
        ("mlflow", "convert them to numbers first"),
    ],
)
def test_hints_of_cells_are_spelled_too(predictor: Predictor, reader: str, advice: str) -> None:
    """Hints that depend on the rows read advise an option of the surface."""
    table = b"price;rating\n" + b"1,5;2\n" * 9
    with surface(reader), pytest.raises(BadRowsError) as caught:
        score_bytes(predictor, table, Format("csv"), Options(), where="the body")
    assert f"looks like numbers with decimal commas: {advice}\n" in str(caught.value)


@pytest.mark.parametrize("header", [b"Price ; rating", b" price,Rating", b"PRICE|rating "])
def test_a_slip_of_spelling_has_one_hint(
    predictor: Predictor, tmp_path: Path, header: bytes
) -> None:
    """Where names differ in case or blanks alone, the delimiter is right; the advice works."""
    separator = next(sign for sign in (b";", b",", b"|") if sign in header)
    source = tmp_path / "in.csv"
    source.write_bytes(header + b"\n2" + separator + b"3\n")
    with command_surface(), pytest.raises(SchemaError) as caught:
        predictor.score_file(source, tmp_path / "out.csv")
    assert "--delimiter" not in str(caught.value)
    assert "--loose-header" in str(caught.value)
    assert predictor.score_file(source, tmp_path / "out.csv", loose_header=True).scored == 1
