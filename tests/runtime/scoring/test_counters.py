"""Row counts are checked before every output is committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import runtime.tables.arrow.table as arrow_table
from runtime.scoring.batch import score_files
from runtime.scoring.options import Options
from runtime.scoring.pipeline import score_file

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.predictor import Predictor


class Miscounted(arrow_table.ArrowBlock, frozen=True):
    """A block that claims one record too many."""

    def __len__(self) -> int:
        return int(self.batch.num_rows) + 1


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table whose blocks lose a record each."""
    (tmp_path / "in").mkdir()
    table = pa.table({"price": [1.0, 2.0], "rating": [2.0, 3.0]})
    pq.write_table(table, tmp_path / "in" / "in.parquet")
    monkeypatch.setattr(arrow_table, "ArrowBlock", Miscounted)
    return tmp_path / "in" / "in.parquet"


@pytest.mark.parametrize("policy", ["fail", "reject", "null"])
@pytest.mark.parametrize("out", ["out.csv", "out.jsonl", "out.parquet", "out.arrow"])
def test_a_lost_row_is_noticed(
    predictor: Predictor, source: Path, tmp_path: Path, policy: str, out: str
) -> None:
    """A mismatch of row counts is a bug, and no output is written."""
    options = Options(bad_rows=policy, drift=tmp_path / "drift.json", force=True)  # type: ignore[arg-type]  # sampled
    (tmp_path / out).write_bytes(b"before")
    with pytest.raises(RuntimeError, match="3 records read, 2 written and 0 dropped"):
        score_file(predictor, source, tmp_path / out, options)
    assert (tmp_path / out).read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in", out])


def test_a_lost_row_is_noticed_among_many_tables(
    predictor: Predictor, source: Path, tmp_path: Path
) -> None:
    """A mismatch in one table fails the batch."""
    with pytest.raises(RuntimeError, match="a bug in onnxferry; no output was written"):
        score_files(predictor, source.parent, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_lost_row_is_noticed_in_memory(predictor: Predictor, source: Path) -> None:
    """A table in memory is counted too."""
    table = pq.read_table(source)
    with pytest.raises(RuntimeError, match="a bug in onnxferry"):
        predictor.predict_table(table)
