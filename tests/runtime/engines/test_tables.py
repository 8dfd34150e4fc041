"""Tables of a folder on an engine: the counts of one machine, whatever their names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from in_process import InProcess

from runtime import Predictor
from runtime.engines.job import ClusterOptions, EngineJob
from runtime.engines.tables import score_tables
from runtime.errors import DataError, UsageError
from runtime.scoring.batch import score_files
from runtime.scoring.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.engines.worker import Job
    from runtime.io.destinations import Part

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


class _Filling(InProcess):
    """Another process writes into the output's folder meanwhile."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        yield from super().score(job, indices)
        Path("out").mkdir()
        Path("out", "other").touch()


class _Unused(InProcess):
    """Has nothing to score."""

    def score(self, job: Job, indices: Sequence[int]) -> Iterator[Part]:
        raise AssertionError(f"{job} {indices}")


def test_what_cannot_be_published_is_kept(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work of a night is not lost with the last step."""
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in", "a.csv").write_text(TABLE)
    options = Options(bad_rows="null")
    job = EngineJob(bundle, Path("in"), Path("out"), options)
    with pytest.raises(UsageError, match=r"out holds files.*kept: resume=True publishes them"):
        score_tables(job, _Filling())
    shutil.rmtree("out")
    again = EngineJob(bundle, Path("in"), Path("out"), options, ClusterOptions(resume=True))
    assert score_tables(again, _Unused()).resumed == 1
    assert sorted(path.name for path in Path("out").iterdir()) == ["_SUCCESS", "a.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


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
