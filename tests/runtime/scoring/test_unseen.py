"""A column with none of the categories of training is refused before anything is published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pyarrow as pa
import pytest
from in_process import InProcess
from pyarrow import feather, parquet

from runtime import Predictor, Scorer
from runtime.engines.job import EngineJob
from runtime.engines.tables import score_tables
from runtime.errors import SchemaError
from runtime.schema.features import Feature, OneHot
from runtime.scoring.options import DEFAULTS
from runtime.scoring.preview import score_preview

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence

    from runtime.schema.features import Unseen

    Run = Callable[..., subprocess.CompletedProcess[bytes]]
    MakeBundle = Callable[[Sequence[str | Feature]], Path]

ENOUGH = 20  # values
REFUSED = "column 'kind': none of its {} values is a category of training"


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs are in a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def bundle(make_bundle: MakeBundle) -> Path:
    """A model of a price and a kind, which may be missing or unseen."""
    return make_bundle(["price", kind("other")])


def kind(unseen: Unseen, *, rare: float = 0.0) -> Feature:
    """A column of the categories ``a`` and ``b``, and a share of rare ones."""
    shares = (0.1, (0.9 - rare) / 2, (0.9 - rare) / 2)
    one_hot = OneHot(("", "a", "b"), unseen, rare=9) if rare else OneHot(("", "a", "b"), unseen)
    return Feature("kind", 0, 1, shares=shares, one_hot=one_hot)


def rows(*kinds: str | None) -> pa.Table:
    """A table of these kinds, null for a missing one."""
    return pa.table({"price": [1.5] * len(kinds), "kind": pa.array(kinds, pa.string())})


def save(table: pa.Table, path: str) -> str:
    """Write a table in the format of its name."""
    Path(path).parent.mkdir(exist_ok=True)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    if path.endswith("parquet"):
        parquet.write_table(table, path)
    elif path.endswith("arrow"):
        feather.write_feather(table, path, compression="uncompressed")
    else:
        (frame.write_csv if path.endswith("csv") else frame.write_ndjson)(path)
    return path


@pytest.mark.parametrize(
    ("kinds", "refused"),
    [
        (["x"] * ENOUGH, 20),
        (["x"] * ENOUGH + [None] * 50, 20),
        (["x"] * 70_000, 70_000),
        (["x"] * (ENOUGH - 1), 0),
        (["x"] * (ENOUGH - 1) + [None] * 50, 0),
        (["x"] * 70_000 + ["a"], 0),
        ([None] * 50, 0),
        ([], 0),
    ],
    ids=["unseen", "with gaps", "blocks", "few", "few values", "one known", "missing", "empty"],
)
def test_what_counts_is_every_filled_value(
    bundle: Path, kinds: list[str | None], refused: int
) -> None:
    """Of enough values, over all blocks; missing ones are none."""
    predictor, source = Predictor(bundle), save(rows(*kinds), "in.csv")
    scored: list[Callable[[], object]] = [
        lambda: predictor.score_file(source, "out.csv", bad_rows="null"),
        lambda: predictor.predict_table(rows(*kinds)),
    ]
    for score in scored:
        if refused:
            with pytest.raises(SchemaError, match=REFUSED.format(f"{refused:,}")):
                score()
        else:
            score()
    assert Path("out.csv").exists() is not bool(refused)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
def test_the_message_shows_both_ways_to_write_them(
    bundle: Path, ending: str, run_command: Run
) -> None:
    """Exit code 3, and neither output, rejects, drift report nor summary."""
    source = save(rows(*["A2", None, "B2"] * ENOUGH), f"in.{ending}")
    before = set(Path().iterdir())
    command = ("predict", "--bundle", bundle, "--file", source)
    files = ("--out", "out.csv", "--bad-rows", "reject", "--summary", "s.json")
    done = run_command(*command, *files)
    assert done.returncode == 3
    assert b"(it has 'A2', 'B2', training had 'a', 'b'); out.csv was not written" in done.stderr
    assert done.stderr.rstrip().endswith(b"or fit without the column: --exclude kind")
    assert set(Path().iterdir()) == before


def test_what_is_on_standard_output_is_called_wrong(bundle: Path, run_command: Run) -> None:
    """Its rows are written while later ones are read."""
    done = run_command("predict", "--bundle", bundle, "--file", save(rows(*["x"] * 50), "in.csv"))
    assert done.returncode == 3
    assert b"the output is incomplete, and its rows are scored without the column" in done.stderr


def test_a_preview_says_it_before_anything_is_saved(bundle: Path) -> None:
    """As a hint below its rows."""
    predictor = Predictor(bundle)
    for kinds, said in ((["x"] * 30, 1), (["x"] * 29 + ["a"], 0)):
        first = score_preview(predictor, Path(save(rows(*kinds), "in.csv")), DEFAULTS, 10)
        assert sum("'kind': no cell has a category" in hint for hint in first.hints) == said


def test_several_tables_are_one(bundle: Path) -> None:
    """A new kind may have a table of its own; that all are unseen may not be."""
    predictor = Predictor(bundle)
    for number in range(3):
        save(rows(*["x"] * 30), f"in/{number}.csv")
    known = save(rows("a"), "in/9.csv")
    assert predictor.score_file("in", "out").out_of_range["kind"].unseen == 90
    Path(known).unlink()
    with pytest.raises(SchemaError, match=re.escape(f"in: {REFUSED.format(90)} (it has 'x'")):
        predictor.score_file("in", "none")
    assert not Path("none").exists()


def test_engines_publish_nothing_either(bundle: Path) -> None:
    """What workers count decides."""
    for number in range(3):
        save(rows(*["x"] * 30), f"in/{number}.csv")
    job = EngineJob(bundle, Path("in"), Path("out"), DEFAULTS)
    with pytest.raises(SchemaError, match=re.escape(f"{REFUSED.format(90)} (it has 'x'")):
        score_tables(job, InProcess())
    assert not Path("out").exists()


def test_batches_of_other_engines_warn(bundle: Path) -> None:
    """A batch may well be of one kind; the summary of all says it, in JSON, too."""
    scorer = Scorer(bundle)
    _, part = scorer.score(rows(*["x"] * 30))
    (warning,) = scorer.summarize([part, part]).warnings
    assert warning.startswith("column 'kind': no cell has a category of training")
    assert scorer.summarize([part]).values()["warnings"] == [warning]
    assert not scorer.summarize([part, scorer.score(rows("a"))[1]]).warnings


@pytest.mark.parametrize(("share", "refused"), [(0.05, True), (0.8, False)])
def test_rare_categories_of_training_may_be_all(
    make_bundle: MakeBundle, share: float, *, refused: bool
) -> None:
    """They are scored as unseen ones: what counts is how probable that is."""
    predictor = Predictor(make_bundle(["price", kind("other", rare=share)]))
    if refused:
        with pytest.raises(SchemaError, match=REFUSED.format(ENOUGH)):
            predictor.predict_table(rows(*["x"] * ENOUGH))
    else:
        assert len(predictor.predict_table(rows(*["x"] * ENOUGH))) == ENOUGH
