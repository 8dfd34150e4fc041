"""Outputs of the trainer's commands replace their own kind, and no other file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from runtime.errors import UsageError
from trainer.cli import app
from trainer.data.source import TableSource

if TYPE_CHECKING:
    from pathlib import Path


def test_a_sample_replaces_a_csv_table_only(tmp_path: Path) -> None:
    """Another file stays; ``--force`` replaces it."""
    out = tmp_path / "notes"
    words = ["sample", "--rows", "3", "--out", str(out)]
    out.write_text("buy milk\n")
    refused = CliRunner().invoke(app, words)
    assert "replace it with --force" in str(refused.exception)
    assert out.read_text() == "buy milk\n"
    for again in (["--force"], []):
        assert CliRunner().invoke(app, [*words, *again]).exit_code == 0


@pytest.mark.parametrize("name", ["p.parquet", "p.jsonl", "p.csv.gz", "p.tsv"])
def test_a_sample_is_named_as_what_it_is(tmp_path: Path, name: str) -> None:
    """A name that promises another format is refused; one that promises none is taken."""
    words = ["sample", "--rows", "3", "--out"]
    refused = CliRunner().invoke(app, [*words, str(tmp_path / name)])
    assert "and products are CSV: end the name in .csv" in str(refused.exception)
    assert list(tmp_path.iterdir()) == []
    for taken in ("p.CSV", "p", "p.txt"):
        assert CliRunner().invoke(app, [*words, str(tmp_path / taken)]).exit_code == 0


def test_rejects_replace_a_list_of_rejected_rows_only(tmp_path: Path) -> None:
    """The path is checked before the table is read."""
    data, rejects = tmp_path / "t.csv", tmp_path / "bad.csv"
    for path in (data, rejects):
        path.write_text("x,y\n1,a\n")
    with pytest.raises(UsageError, match="not a list of rejected rows"):
        TableSource(data, "y", bad_rows="reject", rejects=rejects)
    assert TableSource(data, "y", bad_rows="reject", rejects=rejects, force=True).rejects == rejects
    rejects.write_text("record,line,column,value,reason,text\n")
    assert TableSource(data, "y", bad_rows="reject", rejects=rejects).rejects == rejects
