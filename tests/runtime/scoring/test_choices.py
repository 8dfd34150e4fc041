"""Options from Python."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from runtime.errors import UsageError
from runtime.io.charsets import Encoding
from runtime.scoring.options import Options
from runtime.tables.formats import Format
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.predictor import Predictor


def test_what_the_command_takes_as_text_is_taken_as_text(
    predictor: Predictor, tmp_path: Path
) -> None:
    """Paths, formats, delimiters and encodings can be given as text."""
    given: Any = {"format": "csv.gz", "delimiter": "tab", "encoding": "ISO-8859-1"}
    assert ReadOptions(**given) == ReadOptions(Format("csv", "gzip"), b"\t", Encoding("iso8859-1"))
    source, out = tmp_path / "in.txt", tmp_path / "out.bin"
    source.write_bytes(b"price|rating|caf\xe9\n8|4|x\n1|x|y\n")
    options: Any = {
        "delimiter": "|",
        "encoding": "latin-1",
        "out_format": "parquet",
        "bad_rows": "reject",
        "rejects": str(tmp_path / "bad.csv"),
        "drift": str(tmp_path / "drift.json"),
        "columns": ["café"],
    }
    done = predictor.score_file(str(source), str(out), **options)
    assert (done.scored, done.rejected) == (1, 1)
    assert pq.read_table(out).column_names == ["café", "label", "probability"]
    assert (tmp_path / "bad.csv").read_text().splitlines()[1] == "2,3,rating,x,not a number,1|x|y"
    assert json.loads((tmp_path / "drift.json").read_text())["rows"] == 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "invalid number of threads 0"),
        ({"columns": "id"}, r"columns must be a list of names: give \['id'\]"),
        ({"out_format": "xls"}, "unknown format 'xls'"),
        ({"bad_rows": "skip"}, "unknown policy 'skip'"),
        ({"rejects": "bad.csv"}, "give both"),
    ],
)
def test_what_cannot_be_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    """Invalid values are a ``UsageError`` with the valid ones."""
    with pytest.raises(UsageError, match=said):
        Options(**options)
