"""Training from Python: tables in memory, the options as keywords, and the folder of the run."""

from __future__ import annotations

import datetime as dt
import inspect
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import typer

from runtime.errors import BadRowsError, DataError, SchemaError, UsageError
from trainer.checkpoint.manager import TrainingStopped
from trainer.cli import app
from trainer.fitting import fit_table
from trainer.pipeline import make_run
from trainer.run import WEIGHTS, load_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from trainer.pipeline import Outcome
    from trainer.run import Run

SMALL: dict[str, Any] = {"label": "churn", "hidden": 4, "epochs": 1, "device": "cpu"}
DAY = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - as in a table
ROWS: list[dict[str, Any]] = [
    {
        "age": 20 + at % 37,
        "income": None if at % 9 == 0 else at * 7919 % 1009 / 8,
        "region": ("north", "süd", "a,b")[at % 3],
        "since": DAY + dt.timedelta(days=at * 31 % 97),
        "vip": at % 4 == 0,
        "churn": ("no", "yes")[at * 31 % 97 % 2],
    }
    for at in range(120)
]
FRAME = pd.DataFrame(ROWS)
MAKERS: dict[str, Callable[[], object]] = {
    "rows": lambda: ROWS,
    "columns": lambda: FRAME.to_dict("list"),
    "pandas": lambda: FRAME,
    "categories": lambda: FRAME.astype({"region": "category", "churn": "category"}),
    "polars": lambda: pl.from_pandas(FRAME),
    "arrow": lambda: pa.Table.from_pylist(ROWS),
    "numpy": lambda: FRAME.drop(columns="since").to_records(index=False),
}


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without a folder of their own go to the current one."""
    monkeypatch.chdir(tmp_path)


def weights(run: Run) -> str:
    """The digest of a run's weights."""
    return run.record.files[WEIGHTS].sha256


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_a_table_in_memory_trains_as_its_file_does(make: Callable[[], object]) -> None:
    """The same weights from a data frame, and from the CSV and Parquet that it is written to."""
    table = make()
    has_dates = not isinstance(table, np.ndarray)
    frame = FRAME if has_dates else FRAME.drop(columns="since")
    frame.to_csv("in.csv", index=False)
    frame.to_parquet("in.parquet", index=False)
    runs = [fit_table(each, **SMALL) for each in (table, "in.csv", Path("in.parquet"))]
    assert len({weights(run) for run in runs}) == 1
    assert len({run.record.data_digest for run in runs}) == 1
    assert [run.path for run in runs] == [Path(f"artifacts/churn-{number}") for number in (1, 2, 3)]


def test_the_keywords_are_the_options_of_the_command() -> None:
    """Each option of ``trainer fit`` has its keyword, but for what Python has other words for."""
    command = typer.main.get_command(app).commands["fit"]  # type: ignore[attr-defined]
    options = {each.opts[0].removeprefix("--").replace("-", "_") for each in command.params}
    keywords = set(inspect.signature(fit_table).parameters)
    assert options - keywords == {"config", "json", "restart"}
    assert keywords - options == {"replace", "verbose"}


def test_options_do_what_they_do_on_the_command_line(tmp_path: Path) -> None:
    """Columns, formats of dates, bad rows and a test set, which may be in memory, too."""
    text = FRAME.assign(since=FRAME["since"].dt.strftime("%d/%m/%Y"))
    text.loc[3, "since"] = "soon"
    run = fit_table(
        text,
        **SMALL | {"hidden": (4, 3), "members": 1, "seed": np.int64(7)},
        exclude=["age"],
        date_format={"since": "dmy"},
        bad_rows="reject",
        test=text[60:],
        out="mine",
    )
    assert run.record.schema.feature_names == ("income", "region", "since", "vip")
    assert (run.record.hidden, run.record.seed, run.path) == ((4, 3), 7, Path("mine"))
    assert run.check is not None
    assert (run.check.train_rows, run.check.test_rows) == (119, 60)
    (line,) = (tmp_path / "mine.rejects.csv").read_text().splitlines()[1:]
    assert line.startswith("4,,since,soon,not a date in the format dmy,")
    assert "accuracy" in repr(run)
    assert "<caption" in run._repr_html_()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"optimiser": "adam"}, "optimiser='adam': choose 'sgd', 'adamw'"),
        ({"preset": "fast"}, "preset='fast': choose 'default', 'accurate', 'tutorial'"),
        ({"device": "gpu"}, "device='gpu': choose 'auto', 'cpu', 'cuda'"),
        ({"decimal": ";"}, "decimal=';': choose '.', ','"),
        ({"features": "age"}, r"features='age': expected .*: give \['age'\]"),
        ({"epochs": "9"}, "epochs='9': expected int"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"hidden": ["a"]}, "hidden=.*expected int"),
        ({"format": "csv"}, "is for files, and the data is in memory"),
        ({"delimiter": ";"}, "is for delimited text"),
        ({"rejects": "bad.csv"}, "give both"),
        ({"resume": True}, "needs the folder of the interrupted run"),
    ],
)
def test_what_cannot_be_is_a_usage_error(options: dict[str, Any], said: str) -> None:
    """The message names the keyword and what it takes; nothing is trained."""
    with pytest.raises(UsageError, match=said):
        fit_table(FRAME, **SMALL | options)
    assert not Path("artifacts").exists()


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        (5, UsageError, "data: a int is no table: give a path, a table of pandas, polars"),
        (pl.DataFrame(ROWS).lazy(), UsageError, r"call collect\(\) first"),
        ("none.csv", DataError, "none.csv"),
        (FRAME.drop(columns="churn"), SchemaError, "data: .*there is no column 'churn'"),
        (FRAME.assign(income="x y").replace({"x y": "1 000"}), DataError, "income"),
        (FRAME.assign(churn=[None, *FRAME["churn"][1:]]), BadRowsError, "data: 1 of 120 rows"),
    ],
    ids=["number", "lazy", "no file", "no label", "notation", "a gap"],
)
def test_what_is_no_table_is_refused(data: object, error: type[Exception], said: str) -> None:
    """As files are, by the name of the parameter."""
    with pytest.raises(error, match=said):
        fit_table(data, **SMALL)


def test_advice_of_a_limit_is_a_keyword_that_works() -> None:
    """More categories than are kept by default, each in two rows."""
    towns = [f"t{at % 300}" for at in range(600)]
    table = {"town": towns, "churn": [("yes", "no", "no")[at % 3] for at in range(600)]}
    with pytest.raises(SchemaError, match="keep all of them with max_categories=300, or keep"):
        fit_table(table, **SMALL)
    run = fit_table(table, **SMALL, max_categories=300)
    assert len(run.record.schema.features[0].categories) == 300


def test_no_run_is_replaced_silently() -> None:
    """An existing run needs ``replace``, an interrupted one ``resume`` or ``replace``."""
    run = fit_table(FRAME, **SMALL, out="run")
    with pytest.raises(UsageError, match="run has a run already: give another out, or replace="):
        fit_table(FRAME, **SMALL, out="run")
    assert weights(load_run(Path("run"))) == weights(run)
    assert weights(fit_table(FRAME, **SMALL | {"seed": 2}, out="run", replace=True)) != weights(run)
    with pytest.raises(
        UsageError, match=r"resume=True continues .*, replace=True discards it: use"
    ):
        fit_table(FRAME, **SMALL, out="run", resume=True, replace=True)


def test_an_interrupted_fit_is_kept_and_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The note says how; the weights are those of a fit without interruption."""
    options = SMALL | {"epochs": 3, "out": "run"}

    def interrupted(*arguments: Any, on_epoch_end: object, **keywords: Any) -> Outcome:  # noqa: ANN401, ARG001 - passes all on
        stop = lambda _: signal.raise_signal(signal.SIGINT)  # noqa: E731 - of one line
        return make_run(*arguments, on_epoch_end=stop, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr("trainer.fitting.make_run", interrupted)
        with pytest.raises(TrainingStopped) as stopped:
            fit_table(FRAME, **options)
    assert stopped.value.__notes__[0].endswith("with the same call and out='run', resume=True")
    with pytest.raises(UsageError, match=r"an interrupted run already: .*, resume=True to cont"):
        fit_table(FRAME, **options)
    resumed = fit_table(FRAME, **options, resume=True)
    assert weights(resumed) == weights(fit_table(FRAME, **options | {"out": "whole"}))


def test_findings_are_shown_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    """A script that is no terminal prints nothing, or what the command prints."""
    fit_table(FRAME, **SMALL)
    assert capsys.readouterr() == ("", "")
    fit_table(FRAME, **SMALL, verbose=True)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "120 rows, 5 features" in shown.err
    assert "  'income': number, 14 missing\n" in shown.err
    assert "epoch 1/1" in shown.err
