"""The line ``sep=;`` with which Excel is told the delimiter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from runtime.errors import BadRowsError, DataError, SchemaError
from runtime.io.charsets import Encoding
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.predictor import Predictor

ROWS = "price;rating\n7.5;3.0\n"
SCORED = "price;rating;label;probability\n7.5;3.0;yes;0.8071706\n"
BOM = "\ufeff"


def score(
    predictor: Predictor, text: bytes, folder: Path, name: str = "t.csv", **options: object
) -> bytes:
    """Score a table and read the output."""
    (folder / name).write_bytes(text)
    out = folder / f"out.{name}"
    score_file(predictor, folder / name, out, Options(force=True, **options))  # type: ignore[arg-type]
    return out.read_bytes()


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        ("sep=;\n", ";"),
        ("sep=;\r\n", ";"),
        ('"sep=;"\n', ";"),
        ("SEP=;\n", ";"),
        ("sep=;;;;\n", ";"),
        ("sep=,\n", ","),
        ("sep=\t\n", "\t"),
        ("sep=^\n", "^"),
        ("sep=|\r", "|"),
        (BOM + "sep=;\n", ";"),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "cp1252"])
def test_the_delimiter_is_declared(
    predictor: Predictor, tmp_path: Path, line: str, delimiter: str, encoding: str
) -> None:
    """The output begins with the same line, which Excel needs again."""
    if encoding == "cp1252" and BOM in line:
        return
    mark = BOM if encoding == "utf-16-le" and BOM not in line else ""
    text, expected = (
        (mark + line + rows.replace(";", delimiter)).encode(encoding) for rows in (ROWS, SCORED)
    )
    assert (
        score(predictor, text, tmp_path, reading=ReadOptions(encoding=Encoding(encoding)))
        == expected
    )


def test_the_output_has_the_line_if_it_has_the_delimiter(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Also with fewer columns; other formats have none."""
    text = ("sep=;\n" + ROWS).encode()
    assert score(predictor, text, tmp_path, columns=()).startswith(b"sep=;\nlabel;probability\n")
    scored = score(predictor, text, tmp_path, out_format="tsv", columns=("rating",))
    assert scored.startswith(b"rating\tlabel\tprobability\n")
    assert score(predictor, text, tmp_path, out_format="jsonl").startswith(b'{"price"')


def test_lines_are_counted_with_it(predictor: Predictor, tmp_path: Path) -> None:
    """A bad row is on the line that an editor shows."""
    with pytest.raises(BadRowsError, match=r"record 2 \(line 4\), column 'price'"):
        score(predictor, ("sep=;\n" + ROWS + "x;1\n").encode(), tmp_path)


@pytest.mark.parametrize(
    "head",
    [
        "sep=;x\n",
        "sep=\n",
        "sep=a\n",
        "sep=0\n",
        "sep=-\n",
        'sep="\n',
        "sep\n",
        "\nsep=;\n",
        "sep=;",
    ],
)
def test_other_lines_are_headers(predictor: Predictor, tmp_path: Path, head: str) -> None:
    """A column may be named almost so."""
    with pytest.raises(DataError, match=r"'price'.* missing|no column names"):
        score(predictor, (head + ROWS.split("\n", 1)[1]).encode(), tmp_path)


def test_an_option_that_contradicts_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    """One of the two is wrong; the same delimiter is no contradiction."""
    text = ("sep=;\n" + ROWS).encode()
    reading = ReadOptions(delimiter=b";")
    assert score(predictor, text, tmp_path, reading=reading).decode() == "sep=;\n" + SCORED
    with pytest.raises(DataError, match=r"declares the delimiter ';', but delimiter .* ','"):
        score(predictor, text, tmp_path, reading=ReadOptions(delimiter=b","))
    with pytest.raises(DataError, match=r"declares the delimiter ';', but .* '\\t'"):
        score(predictor, text, tmp_path, "t.tsv")


def test_a_wrong_declaration_is_named(predictor: Predictor, tmp_path: Path) -> None:
    """The hint is not to give the delimiter, which would contradict the line."""
    with pytest.raises(SchemaError, match=r"separated by ',', but the first line declares ';'"):
        score(predictor, ("sep=;\n" + ROWS.replace(";", ",")).encode(), tmp_path)
