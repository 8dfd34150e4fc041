"""Tables of a folder on an engine: the counts of one machine, whatever their names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from in_process import InProcess

from runtime import Predictor
from runtime.engines.job import EngineJob
from runtime.engines.tables import score_tables
from runtime.errors import DataError
from runtime.scoring.batch import score_files
from runtime.scoring.options import Options

TABLE = "id,price,rating\n1,2.5,3\n2,cheap,4\n"
NAMES = ("a.csv", "day=1/b c.csv", "q?[x]%20#.csv", "two\nlines.csv", f"{'n' * 251}.csv")


def test_tables_have_the_bytes_and_counts_of_one_machine(bundle: Path, tmp_path: Path) -> None:
    """Names with blanks, wildcards and line ends, and of the greatest length."""
    source = tmp_path / "in"
    for name in NAMES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(TABLE)
    options = Options(bad_rows="null")
    here, there = tmp_path / "here", tmp_path / "there"
    alone = score_files(Predictor(bundle), source, here, options).total
    shared = score_tables(EngineJob(bundle, source, there, options), InProcess()).summary
    for name in NAMES:
        assert (there / name).read_bytes() == (here / name).read_bytes()
    assert (shared.rows, shared.rejected, shared.blocks) == (10, 5, 5)
    assert (alone.rows, alone.rejected, alone.blocks) == (10, 5, 5)


def test_a_name_that_is_no_text_is_refused(bundle: Path, tmp_path: Path) -> None:
    """The list of the output is JSON: it would have no name for the table."""
    source = tmp_path / "in"
    source.mkdir()
    try:
        Path(os.fsdecode(os.fsencode(source) + b"/\xff.csv")).write_text(TABLE)
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    job = EngineJob(bundle, source, tmp_path / "out", Options())
    with pytest.raises(DataError, match=r"name is not UTF-8.*rename it"):
        score_tables(job, InProcess())
    assert list(tmp_path.iterdir()) == [source]
