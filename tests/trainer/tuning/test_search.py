"""A tuned fit: the run of the command that it prints, resumed wherever it was interrupted."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import sys
import time
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from forked import PATIENCE_S, Forked

from runtime.errors import DataError, SchemaError, UsageError
from runtime.io.temporary import workdir_path
from runtime.surfaces import command_surface
from trainer.checkpoint.manager import CheckpointManager
from trainer.checkpoint.trials import (
    TRIALS,
    Search,
    read_complete_search,
    read_search,
    trials_destination,
)
from trainer.cli.tuning import untuned_command
from trainer.config import Configuration
from trainer.data.products import synthetic_products
from trainer.fit import fit
from trainer.fitting import fit_table
from trainer.tuning.budget import parse_budget
from trainer.tuning.report import describe_result, format_search
from trainer.tuning.search import Tuner, TuningRequest
from trainer.tuning.space import SPACE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from trainer.checkpoint.state import TrainingState

    Trainer = Callable[..., subprocess.CompletedProcess[str]]

ROWS: list[dict[str, Any]] = [
    {"a": at * 7919 % 1009 / 8, "b": at % 37, "y": ("no", "yes")[at * 31 % 97 % 2]}
    for at in range(150)
]
QUICK: dict[str, Any] = {"label": "y", "device": "cpu", "epochs": 8, "batch_size": 32}
manager_on_step = CheckpointManager.on_step
SAME = ("run.json", "weights.safetensors", "rows.safetensors", "metrics.json", "metrics.jsonl")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def contents(run: Path, *names: str) -> list[bytes]:
    return [(run / name).read_bytes() for name in names]


def kept(run: object) -> Search:
    assert isinstance(run, Path)
    search = read_complete_search(run)
    assert search is not None
    return search


def write_table() -> None:
    lines = [f"{row['a']},{row['b']},{row['y']}" for row in ROWS]
    Path("in.csv").write_text("\n".join(["a,b,y", *lines, ""]))


def test_the_run_is_that_of_the_printed_command(trainer: Trainer, tmp_path: Path) -> None:
    """Bit for bit, and again from Python; the trials are in the run and in JSON, the best first."""
    write_table()
    options = ("--data", "in.csv", "--label", "y", "--device", "cpu", "--epochs", "8")
    done = trainer("fit", *options, "--tune", "9", "--json", "--out", "tuned")
    assert done.returncode == 0, done.stderr
    assert "\ntrial 9/9  log loss 0." in done.stderr
    told = json.loads(done.stdout)["tuning"]
    words = shlex.split(told["command"])
    assert words[:2] == ["trainer", "fit"]
    assert not {"--tune", "--json", "9"} & set(words)
    words[words.index("tuned")] = "plain"
    assert trainer(*words[1:]).returncode == 0
    assert contents(tmp_path / "tuned", *SAME) == contents(tmp_path / "plain", *SAME)
    search = kept(tmp_path / "tuned")
    best = told["trials"][0]
    assert told["found"] == best["options"] == json.loads(json.dumps(search.winner.options))
    losses = [trial.mean_loss(search.folds) for trial in search.trials]
    assert told["loss"] == min(loss for loss in losses if loss is not None)
    assert "epochs" not in search.winner.options, "it was given"
    assert {trial["scores"][0]["end"] for trial in told["trials"]} >= {"complete", "stopped"}
    assert list(tmp_path.glob("*.partial")) == []
    run = fit_table("in.csv", "y", device="cpu", epochs=8, tune=9, out="python")
    assert run.path == Path("python")
    assert contents(run.path, TRIALS, *SAME) == contents(tmp_path / "tuned", TRIALS, *SAME)


def test_a_search_is_resumed_after_a_kill(
    trainer: Trainer, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """It is not discarded unasked, and ends with the bytes of one that was not interrupted."""
    options = ("fit", "--device", "cpu", "--epochs", "60", "--tune", "6", "--out")
    with Forked("trainer", *options, "run", folder=tmp_path, environment=environment) as killed:
        wait_for_trials(tmp_path / "run", killed)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(PATIENCE_S)
    assert not (tmp_path / "run").exists()
    for given in ((*options, "run"), ("fit", "--out", "run", "--resume")):
        refused = trainer(*given)
        assert refused.returncode == UsageError.exit_code
        assert "--tune 6 and --resume continue it" in refused.stderr
    other = trainer(*options, "run", "--resume", "--seed", "2")
    assert "the interrupted search of run has " in other.stderr
    assert "seed 1, not 2" in other.stderr
    with Forked(
        "trainer", *options, "run", "--resume", folder=tmp_path, environment=environment
    ) as stopped:
        wait_for_trials(tmp_path / "run", stopped, more_than=trials_of(tmp_path / "run"))
        os.kill(stopped.pid, signal.SIGINT)
        interrupted = stopped.wait(PATIENCE_S)
    assert interrupted.returncode == 130, interrupted.stderr
    assert "resuming run in its search, after trial" in interrupted.stderr
    assert interrupted.stderr.count("interrupted while searching: ") == 1
    advice = interrupted.stderr.rpartition("are kept; resume with: trainer ")[2]
    assert trainer(*shlex.split(advice)).returncode == 0
    assert trainer(*options, "whole").returncode == 0
    for name in (TRIALS, *SAME):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    again = trainer(*options, "run", "--resume")
    assert again.returncode == 0, again.stderr
    assert "complete before: nothing was trained" in again.stderr
    assert list(tmp_path.glob("*.partial")) == []


def trials_of(run: Path) -> int:
    search = read_search(run)
    return len(search.trials) if search else 0


def wait_for_trials(run: Path, process: Forked, *, more_than: int = 0) -> None:
    limit = time.monotonic() + PATIENCE_S
    while trials_of(run) <= more_than:
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)


def test_a_fit_is_resumed_in_its_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trials are kept until the run is complete; another search is refused by then."""
    options = QUICK | {"tune": 3, "out": "run"}

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("trainer.fitting.make_run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fit_table(ROWS, **options)
    with pytest.raises(UsageError, match=r"run has an interrupted run already: .*resume=True"):
        fit_table(ROWS, **options)
    with pytest.raises(UsageError, match=r"after its search: tune=\"3\" and resume=True continue"):
        fit_table(ROWS, **QUICK, out="run", resume=True)
    with pytest.raises(UsageError, match="has 3 trials: give tune=3 or more"):
        fit_table(ROWS, **options | {"tune": 2, "resume": True})
    with monkeypatch.context() as patch:
        patch.setattr("trainer.checkpoint.manager.CheckpointManager.on_step", stop_at_a_checkpoint)
        with pytest.raises(KeyboardInterrupt):
            fit_table(ROWS, **options, resume=True)
    said = 'run is in training, after a search of 3: give tune="3", or start over with replace=True'
    with pytest.raises(UsageError, match=said):
        fit_table(ROWS, **options | {"tune": 4, "resume": True})
    shutil.copytree("run.partial", "other.partial")
    shutil.copytree("run.tuning.partial", "other.tuning.partial")
    changed = fit_table(ROWS, **options | {"out": "other", "learning_rate": 1e-4}, resume=True)
    assert changed.record.configuration["learning_rate"] == 1e-4
    assert "learning_rate" in str(changed.record.configuration["changed"])
    run = fit_table(ROWS, **options, resume=True)
    whole = fit_table(ROWS, **options | {"out": "whole"})
    assert contents(Path("run"), TRIALS, *SAME) == contents(Path("whole"), TRIALS, *SAME)
    assert repr(fit_table(ROWS, **options, resume=True)) == repr(run)
    with pytest.raises(UsageError, match='was tuned with tune="3": there is nothing to resume'):
        fit_table(ROWS, **options | {"tune": 4, "resume": True})
    assert len(kept(whole.path).trials) == 3


def stop_at_a_checkpoint(self: CheckpointManager, capture: Callable[[], TrainingState]) -> None:
    """Write one after the first step, as a signal does."""
    self._stop.signal = signal.SIGINT
    manager_on_step(self, capture)


def test_more_trials_continue_a_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are those of a longer search from the beginning."""
    with monkeypatch.context() as patch:
        patch.setattr(Tuner, "_confirm", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt) as stopped:
            fit_table(ROWS, **QUICK, tune=3, out="run")
    assert stopped.value.__notes__[0].endswith("with the same call and out='run', resume=True")
    with (
        monkeypatch.context() as patch
    ):  # after the search, with trials that no longer are finalists
        patch.setattr(
            "trainer.fitting.make_run", lambda *_, **__: signal.raise_signal(signal.SIGINT)
        )
        with pytest.raises(KeyboardInterrupt):
            fit_table(ROWS, **QUICK, tune=4, out="run", resume=True)
    found = fit_table(ROWS, **QUICK, tune=9, out="run", resume=True)
    whole = fit_table(ROWS, **QUICK, tune=9, out="whole")
    assert kept(found.path) == kept(whole.path)


def test_the_test_set_has_no_influence() -> None:
    """Other test rows, the same trials."""
    one, two = (fit_table(ROWS[50:], **QUICK, test=ROWS[at : at + 50], tune=4) for at in (0, 7))
    assert kept(one.path).trials == kept(two.path).trials
    assert one.record.data_digest != two.record.data_digest


def test_a_search_of_seconds_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a time there is some left for the other folds; the defaults are tried in any case."""
    found = []
    for step in (0.01, 1000.0):  # seconds that an epoch takes
        clock = count(0, step)
        fake = SimpleNamespace(monotonic=lambda clock=clock: next(clock))
        monkeypatch.setattr("trainer.tuning.search.time", fake)
        found.append(kept(fit_table(ROWS, **QUICK, tune="1s").path))
        assert found[-1].seconds == 0, "the run has the same bytes"
        assert next(clock) < step * 110, "a second, and a little"
    quick, slow = found
    assert len(quick.trials) > 3
    assert quick.folds > 1
    assert [trial.scores[0].end for trial in slow.trials] == ["complete"]
    assert (slow.best, slow.folds) == (0, 1)
    result = describe_result(slow, 120)
    assert result.startswith("the one trial, for which there was time, has the options without ")
    assert result.endswith(" on 1 of 5 folds")


def test_a_trial_that_fails_is_one_of_the_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """It diverges, for instance; if all do, the first reason is the error."""

    def diverge(*arguments: Any, **keywords: Any) -> object:  # noqa: ANN401 - passes all on
        configuration: Configuration = arguments[1]
        if configuration.optimiser in failing:
            raise DataError("training diverged: so")
        return fit(*arguments, **keywords)

    monkeypatch.setattr("trainer.tuning.search.fit", diverge)
    failing = {"sgd"}
    search = kept(fit_table(ROWS, **QUICK, tune=8).path)
    ends = {trial.options["optimiser"]: trial.scores[0].end for trial in search.trials}
    assert ends["sgd"] == "failed"
    assert search.winner.options["optimiser"] == "adamw"
    assert " failed  optimiser sgd" in format_search(search, sys.stderr)
    failing = {"sgd", "adamw"}
    for _ in range(2):  # nothing is kept that would have to be continued or discarded
        with pytest.raises(DataError, match="none of 3 trials was completed; the first: training"):
            fit_table(ROWS, **QUICK | {"out": "failed"}, tune=3)


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"out": "run", "logdir": "run/tb"}, "inside the run directory"),
        ({"logdir": "file"}, "cannot write file: .*file is no folder"),
        ({"out": "folder"}, "holds other files"),
        ({"out": "file"}, "is a file"),
    ],
)
def test_outputs_that_cannot_be_written_are_refused_before_the_search(
    outputs: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may take hours; nothing is left."""
    Path("file").touch()
    Path("folder").mkdir()
    Path("folder", "mine").touch()
    monkeypatch.setattr(Tuner, "run", lambda *_: pytest.fail("it was searched"))
    with pytest.raises(UsageError, match=said):
        fit_table(ROWS, **QUICK | outputs, tune=2)
    assert {path.name for path in Path().iterdir()} == {"file", "folder"}


def test_a_search_is_not_discarded_by_a_mistake(trainer: Trainer) -> None:
    """It stays until the other table has been read; then it is said to be discarded."""
    write_table()
    fit_table(ROWS, **QUICK, tune=2, out="run")
    work = workdir_path(trials_destination(Path("run")))
    work.mkdir()
    search = kept(Path("run"))
    Path("run/tuning.json").rename(work / TRIALS)
    shutil.rmtree("run")
    for words in (("typo.csv", "y", "--tune", "2"), ("in.csv", "typo", "--tune", "2")):
        data, label, *tune = words
        given = ("fit", "--data", data, "--label", label, "--out", "run", "--restart", *tune)
        assert trainer(*given).returncode != 0
        assert read_search(Path("run")) == search
    with pytest.raises(SchemaError, match="typo"):
        fit_table(ROWS, **QUICK | {"label": "typo"}, out="run", replace=True)
    assert read_search(Path("run")) == search
    given = ("fit", "--data", "in.csv", "--label", "y", "--out", "run", "--restart")
    done = trainer(*given, "--epochs", "1")
    assert "discarding the interrupted run of run, after its search" in done.stderr
    assert not work.exists()


def test_what_cannot_be_searched_is_refused(trainer: Trainer) -> None:
    """Before the table is read."""
    every = {name: getattr(Configuration(), name) for name in SPACE}
    for options, said in (
        ({"preset": "tutorial"}, 'preset="tutorial" trains as the tutorial does'),
        (every, "tune has nothing to search: leave one of optimiser, learning_rate"),
        ({"resume": True, "out": "plain"}, "is a complete run that was not tuned"),
    ):
        if "out" in options:
            fit_table(ROWS, **QUICK, out="plain")
        with pytest.raises(UsageError, match=said):
            fit_table(ROWS, **QUICK | {"tune": 3} | options)
    assert trainer("fit", "--tune", "many").returncode == UsageError.exit_code


def test_damaged_trials_are_refused_and_discarded_on_request() -> None:
    """The message says how to start over."""
    fit_table(ROWS, **QUICK, tune=2, out="run")
    work = workdir_path(trials_destination(Path("run")))
    work.mkdir()
    (work / TRIALS).write_text("{}")
    with pytest.raises(Exception, match=r"tuning.json is damaged: .* with replace=True"):
        fit_table(ROWS, **QUICK, tune=2, out="run", resume=True)
    fit_table(ROWS, **QUICK, tune=2, out="run", replace=True)
    assert not work.exists()
    shutil.rmtree("run")


def test_the_options_that_were_given_stay() -> None:
    """They are neither searched nor said twice; the command keeps its other words."""
    request = TuningRequest(parse_budget(2), None, {"hidden": (4,), "seed": 3}, "cpu")
    assert "hidden" not in request.free
    assert request.configure({"learning_rate": 0.5}, (1000, 9)).hidden == (4,)
    assert len(synthetic_products(3).rows.train_labels) == 800
    words = ["fit", "--tune", "20", "--out", "a b", "--resume", "--json"]
    expected = "trainer fit --out 'a b' --learning-rate 0.5 --hidden 64,64"
    with command_surface():
        found = untuned_command(words, {"learning_rate": 0.5, "hidden": (64, 64)})
    assert found == expected
    with command_surface():
        assert untuned_command(["fit", "--tune=5m"], {"epochs": 3}) == "trainer fit --epochs 3"
