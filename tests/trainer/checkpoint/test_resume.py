"""A resumed run equals an uninterrupted one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runtime.errors import ArtifactError, DataError, UsageError
from runtime.io.temporary import locked_workdir, workdir_path
from trainer.checkpoint.format import CHECKPOINT, read_record
from trainer.checkpoint.manager import TrainingStopped, exit_when_interrupted
from trainer.checkpoint.resume import check_table_options, describe_start, resume_options
from trainer.config import Configuration, configure
from trainer.data.products import synthetic_products
from trainer.fit import _ROWS_AT_ONCE, fit
from trainer.pipeline import make_run
from trainer.run import load_run
from trainer.session import SaveOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import torch

    from trainer.checkpoint.state import Epoch, TrainingState
    from trainer.config import Options, Preset
    from trainer.engines.state import ModelState

    Trainer = Callable[..., subprocess.CompletedProcess[str]]

THOROUGH = configure(
    epochs=6,
    batch_size=7,
    optimiser="adamw",
    learning_rate=0.01,
    schedule="cosine",
    validation=0.25,
    patience=4,
    weight_decay=0.01,
    class_weights="balanced",
    hidden=(9, 5),
)
EVERY_STEP = SaveOptions(resume=True, checkpoint_every_s=0)


@pytest.fixture
def short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The callback is called every few steps, as with a large table."""
    monkeypatch.setitem(_ROWS_AT_ONCE, "cpu", 50)


class StopAt:
    """A callback that captures the state at one call and stops there."""

    def __init__(self, call: int, before: TrainingState | None = None) -> None:
        self.left, self.state = call, before

    def restore(self) -> TrainingState | None:
        return self.state

    def on_epoch_end(self, epoch: Epoch, state: ModelState) -> None:
        pass

    def on_step(self, capture: Callable[[], TrainingState]) -> None:
        if self.left == 0:
            self.state = capture()
            raise TrainingStopped(signal.SIGINT, "here")
        self.left -= 1


def weights(model: torch.nn.Module) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in model.parameters()]


@settings(max_examples=25)
@given(
    calls=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    optimiser=st.sampled_from(("sgd", "adamw")),
    validation=st.sampled_from((0.0, 0.3)),
    members=st.sampled_from((1, 3)),
)
@pytest.mark.slow
def test_training_can_be_interrupted_anywhere(
    calls: list[int], optimiser: str, validation: float, members: int
) -> None:
    """At any (epoch, step), any number of times: weights and last epoch are the same bits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(_ROWS_AT_ONCE, "cpu", 50)
        dataset = synthetic_products(5, train_rows=200)
        configuration = configure(
            epochs=5,
            batch_size=9,
            learning_rate=0.02,
            optimiser="adamw" if optimiser == "adamw" else "sgd",
            members=members,
            folds=0 if validation or members == 1 else members,
            validation=validation,
            patience=2 if validation else None,
        )
        whole = fit(dataset, configuration)
        state = None
        for call in calls:
            callback = StopAt(call, state)
            try:
                fit(dataset, configuration, callback=callback)
            except TrainingStopped:
                state = callback.state
        parts = fit(dataset, configuration, callback=StopAt(10**9, state))
    assert weights(parts.model) == weights(whole.model)
    assert (parts.epochs, parts.last.index) == (whole.epochs, whole.last.index)
    assert parts.last.accuracy == whole.last.accuracy


# A parent that has loaded torch forks the runs, so that a kill hits training, not the imports.
KILLS = """
import os, random, shutil, signal, sys, time
from pathlib import Path
import trainer.fit
from trainer.config import configure
from trainer.loggers import collection
from trainer.pipeline import make_run
from trainer.session import SaveOptions

trainer.fit._ROWS_AT_ONCE["cpu"] = 50
configuration = configure(**eval(sys.argv[2]))
saving = SaveOptions(resume=True, checkpoint_every_s=0.002)

def start(folder):
    child = os.fork()
    if child:
        return child
    make_run(folder, configuration, device="cpu", saving=saving)
    os._exit(0)

root, draw = Path(sys.argv[1]), random.Random(int(sys.argv[3]))
os.waitpid(start(root / "whole"), 0)
began = time.monotonic()
os.waitpid(start(root / "run0"), 0)
took = time.monotonic() - began
killed = resumed = 0
while killed < 30:
    folder = root / f"run{killed}"
    shutil.rmtree(folder, ignore_errors=True)
    child = start(folder)
    time.sleep(draw.uniform(0, took))
    os.kill(child, signal.SIGKILL)
    if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
        killed += 1
        resumed += (root / f"{folder.name}.partial" / "checkpoint.json").exists()
    assert os.waitpid(start(folder), 0)[1] == 0

# Killed when its event file is as new as can be: the resumed run has no second one.
saving = SaveOptions(resume=True, logdir=root / "curves")
logger, collection.TensorBoardLogger = collection.TensorBoardLogger, lambda file: os._exit(9)
assert os.waitpid(start(root / "late"), 0)[1]
collection.TensorBoardLogger = logger
assert os.waitpid(start(root / "late"), 0)[1] == 0
assert len(list(saving.logdir.iterdir())) == 1
print(resumed)
"""


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: a kill takes nothing that a disk would have kept."""
    shared = Path("/dev/shm")  # noqa: S108 - tempfile makes a folder of our own in it
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


def test_a_kill_at_any_moment_loses_nothing(memory: Path, environment: Mapping[str, str]) -> None:
    """30 runs killed at random moments and resumed: the files of an uninterrupted run."""
    options = {
        "epochs": 15,
        "batch_size": 7,
        "optimiser": "adamw",
        "learning_rate": 0.003,
        "schedule": "cosine",
        "validation": 0.25,
        "hidden": (9, 5),
    }
    seed = random.randrange(10**6)  # noqa: S311 - no secret
    done = subprocess.run(
        [sys.executable, "-c", KILLS, str(memory), repr(options), str(seed)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed}: {done.stderr}"
    assert int(done.stdout) >= 5, f"seed {seed}: {done.stdout} of 30 had a checkpoint"
    for index in range(30):
        assert_same_run(memory / f"run{index}", memory / "whole")
    assert len(list(memory.iterdir())) == 33  # with that of the last two starts, and its curves


def assert_same_run(ours: Path, theirs: Path) -> None:
    """Compare every byte but the timestamps of event files, which have the same curves."""
    for name in ("run.json", "weights.safetensors", "rows.safetensors", "metrics.jsonl"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    assert sorted(path.name for path in ours.iterdir()) == sorted(
        path.name for path in theirs.iterdir()
    )
    assert read_curves(ours / "tensorboard") == read_curves(theirs / "tensorboard")


def read_curves(logdir: Path) -> dict[str, list[tuple[int, float]]]:
    reader = EventAccumulator(str(logdir), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in reader.Scalars(tag)]
        for tag in reader.Tags()["scalars"]
    }


def stop_after(epochs: int) -> Callable[[Epoch], None]:
    """Send SIGINT at the end of an epoch."""

    def interrupt(epoch: Epoch) -> None:
        if epoch.index + 1 == epochs:
            os.kill(os.getpid(), signal.SIGINT)

    return interrupt


def resumed(out: Path, preset: Preset | None, overrides: Options) -> Configuration:
    """Return the options of a run that was interrupted."""
    configuration = resume_options(out, preset, overrides)
    assert configuration
    return configuration


def interrupt_run(
    out: Path, configuration: Configuration = THOROUGH, logdir: Path | None = None
) -> None:
    """Leave a run with a checkpoint after its second epoch."""
    saving = SaveOptions(logdir, checkpoint_every_s=0)
    with pytest.raises(TrainingStopped, match="epoch 3, step 1"):
        make_run(out, configuration, device="cpu", saving=saving, on_epoch_end=stop_after(2))


def test_sigint_leaves_a_checkpoint_and_the_previous_run(tmp_path: Path) -> None:
    """The previous run stays complete; the resumed run equals an uninterrupted one."""
    make_run(tmp_path / "whole", THOROUGH, device="cpu")
    make_run(tmp_path / "run", configure(epochs=1), device="cpu")
    before = (tmp_path / "run" / "run.json").read_bytes()
    interrupt_run(tmp_path / "run")
    assert (tmp_path / "run" / "run.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.partial", "whole"]
    make_run(tmp_path / "run", THOROUGH, device="cpu", saving=SaveOptions(resume=True))
    assert_same_run(tmp_path / "run", tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "whole"]


def test_resume_replaces_no_complete_run(tmp_path: Path) -> None:
    """The same run stays as it is, also when it was resumed with other options."""
    interrupt_run(tmp_path / "run")
    longer, saving = replace(THOROUGH, epochs=THOROUGH.epochs + 1), SaveOptions(resume=True)
    make_run(tmp_path / "run", longer, device="cpu", saving=saving)
    before = (tmp_path / "run" / "run.json").read_bytes()
    assert make_run(tmp_path / "run", longer, device="cpu", saving=saving).last is None
    with pytest.raises(
        UsageError, match=r"complete run, with learning rate .* replace=True replaces"
    ):
        make_run(tmp_path / "run", replace(longer, learning_rate=0.5), device="cpu", saving=saving)
    assert (tmp_path / "run" / "run.json").read_bytes() == before


def test_a_run_resumes_on_its_device(tmp_path: Path) -> None:
    """``auto`` selects a device for new runs only: on another one it would be another run."""
    interrupt_run(tmp_path / "run")
    outcome = make_run(tmp_path / "run", THOROUGH, device="auto", saving=SaveOptions(resume=True))
    assert (outcome.device.name, outcome.device.reason) == ("cpu", "as before the interruption")


def test_a_logdir_continues_at_the_checkpoint(tmp_path: Path) -> None:
    """No step is duplicated or lost, though the file had grown after the checkpoint."""
    make_run(tmp_path / "whole", THOROUGH, device="cpu")
    interrupt_run(tmp_path / "run", logdir=tmp_path / "tb")
    (events,) = (tmp_path / "tb").iterdir()
    events.write_bytes(events.read_bytes() + b"written after the checkpoint")
    saving = SaveOptions(tmp_path / "tb", resume=True)
    make_run(tmp_path / "run", THOROUGH, device="cpu", saving=saving)
    assert read_curves(tmp_path / "tb") == read_curves(tmp_path / "whole" / "tensorboard")
    assert not (tmp_path / "run" / "tensorboard").exists()


def test_restarting_discards_the_curves_of_the_logdir(tmp_path: Path) -> None:
    """Those of the discarded run would stand beside its own; a lost logdir has none."""
    interrupt_run(tmp_path / "run", logdir=tmp_path / "tb")
    (events,) = (tmp_path / "tb").iterdir()
    saving = SaveOptions(tmp_path / "tb", restart=True)
    make_run(tmp_path / "run", THOROUGH, device="cpu", saving=saving)
    assert len(list((tmp_path / "tb").iterdir())) == 1
    assert not events.exists()
    interrupt_run(tmp_path / "other", logdir=tmp_path / "tb" / "lost")
    shutil.rmtree(tmp_path / "tb")
    (tmp_path / "tb").write_text("in the way")
    make_run(tmp_path / "other", THOROUGH, device="cpu", saving=SaveOptions(restart=True))


def test_a_refused_resume_keeps_track_of_the_curves(tmp_path: Path) -> None:
    """With another logdir; a fit that ends before its first checkpoint leaves none, either."""
    interrupt_run(tmp_path / "run", logdir=tmp_path / "tb")
    with pytest.raises(UsageError, match=r"event file .* is .*: give logdir=.*tb. as before"):
        make_run(tmp_path / "run", THOROUGH, saving=SaveOptions(tmp_path / "new", resume=True))
    assert not (tmp_path / "new").exists()
    saving = SaveOptions(tmp_path / "tb", restart=True)
    diverging = replace(THOROUGH, optimiser="sgd", learning_rate=1e20)
    with pytest.raises(DataError, match="diverged"):
        make_run(tmp_path / "run", diverging, device="cpu", saving=saving)
    assert list((tmp_path / "tb").iterdir()) == []


def test_the_logdir_of_before_is_named(tmp_path: Path) -> None:
    """Where ``resume`` is given without it, or with one that the run did not have."""
    interrupt_run(tmp_path / "a", logdir=tmp_path / "tb")
    with pytest.raises(UsageError, match=r"give logdir=\"\S+/tb\"$"):
        make_run(tmp_path / "a", THOROUGH, device="cpu", saving=SaveOptions(resume=True))
    interrupt_run(tmp_path / "b")
    with pytest.raises(UsageError, match=r"leave logdir out$"):
        make_run(
            tmp_path / "b", THOROUGH, device="cpu", saving=SaveOptions(tmp_path / "tb", resume=True)
        )
    for name, logdir in (("a", tmp_path / "tb"), ("b", None)):
        saving = SaveOptions(logdir, resume=True)
        make_run(tmp_path / name, THOROUGH, device="cpu", saving=saving)


def test_a_truncated_event_file_is_refused(tmp_path: Path) -> None:
    """The curves would have an invisible gap."""
    interrupt_run(tmp_path / "run", logdir=tmp_path / "tb")
    (events,) = (tmp_path / "tb").iterdir()
    saving = SaveOptions(tmp_path / "tb", resume=True)
    events.write_bytes(events.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"tfevents.*with replace=True"):
        make_run(tmp_path / "run", THOROUGH, device="cpu", saving=saving)
    events.unlink()
    with pytest.raises(ArtifactError, match="is missing"):
        make_run(tmp_path / "run", THOROUGH, device="cpu", saving=saving)


def test_without_a_checkpoint_training_starts_over(tmp_path: Path) -> None:
    """Nothing there, or only the files of a run killed before its first checkpoint."""
    make_run(tmp_path / "whole", THOROUGH, device="cpu")
    make_run(tmp_path / "a", THOROUGH, device="cpu", saving=EVERY_STEP)
    assert_same_run(tmp_path / "a", tmp_path / "whole")
    work = workdir_path(tmp_path / "b")
    (work / "tensorboard").mkdir(parents=True)
    (work / "tensorboard" / "events.out.tfevents.1").write_bytes(b"half a rec")
    (work / "metrics.jsonl").write_text("{")
    make_run(tmp_path / "b", THOROUGH, device="cpu", saving=EVERY_STEP)
    assert_same_run(tmp_path / "b", tmp_path / "whole")


def test_a_completed_run_is_not_repeated(tmp_path: Path) -> None:
    """With --resume it is loaded; another run does not take its place unasked."""
    make_run(tmp_path / "run", THOROUGH, device="cpu")
    inode = (tmp_path / "run").stat().st_ino
    outcome = make_run(tmp_path / "run", THOROUGH, device="cpu", saving=EVERY_STEP)
    assert (tmp_path / "run").stat().st_ino == inode
    assert outcome.run.record == load_run(tmp_path / "run").record
    with pytest.raises(UsageError, match=r"complete run, with hidden .* replace=True replaces"):
        make_run(tmp_path / "run", configure(epochs=2), device="cpu", saving=EVERY_STEP)
    assert (tmp_path / "run").stat().st_ino == inode


def test_two_processes_do_not_share_a_run(tmp_path: Path) -> None:
    """The second gets an error and changes nothing."""
    with (
        locked_workdir(tmp_path / "run"),
        pytest.raises(UsageError, match="another process is writing"),
    ):
        make_run(tmp_path / "run", THOROUGH, device="cpu")


@pytest.mark.usefixtures("short_calls")
@pytest.mark.parametrize("name", [CHECKPOINT, "last.*.safetensors", "best.*.safetensors"])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    """Whichever byte is flipped, truncated or missing; the files stay."""
    interrupt_run(tmp_path / "run")
    (path,) = workdir_path(tmp_path / "run").glob(name)
    content, draw = path.read_bytes(), random.Random(1)  # noqa: S311 - no secret
    wrong = [content[:-1], b"", content + b" "]
    for _ in range(12):
        flipped = bytearray(content)
        flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        wrong.append(bytes(flipped))
    for altered in wrong:
        path.write_bytes(altered)
        with pytest.raises(ArtifactError, match=r"run\.partial.*, with replace=True$"):
            make_run(tmp_path / "run", THOROUGH, device="cpu", saving=EVERY_STEP)
        assert path.read_bytes() == altered
    if name != CHECKPOINT:
        path.unlink()
        with pytest.raises(ArtifactError, match=r"is missing.*, with replace=True$"):
            make_run(tmp_path / "run", THOROUGH, device="cpu", saving=EVERY_STEP)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    """Other data, another network: the message names the difference."""
    interrupt_run(tmp_path / "run")
    for options, what in (
        ({"seed": 9}, "seed 1, not 9, other rows"),
        ({"batch_size": 8}, "batch size 7, not 8"),
    ):
        other = configure(**{**vars(THOROUGH), **options})
        with pytest.raises(ArtifactError, match=f"another run, with {what}"):
            make_run(tmp_path / "run", other, device="cpu", saving=EVERY_STEP)


def test_options_default_to_those_of_the_checkpoint(tmp_path: Path) -> None:
    """Some may change, and the run records it; others are refused by name."""
    interrupt_run(tmp_path / "run")
    assert resumed(tmp_path / "run", None, {}) == THOROUGH
    assert resume_options(tmp_path / "none", "tutorial", {}) is None
    changed = resumed(tmp_path / "run", None, {"learning_rate": 0.5, "epochs": 4})
    with pytest.raises(UsageError, match="has batch size 7, not 8"):
        resumed(tmp_path / "run", None, {"batch_size": 8})
    with pytest.raises(UsageError, match="has preset default, not tutorial"):
        resumed(tmp_path / "run", "tutorial", {})
    run = make_run(tmp_path / "run", changed, device="cpu", saving=EVERY_STEP).run
    assert run.record.configuration["learning_rate"] == 0.5
    assert run.record.configuration["changed"] == (
        "epochs 6 until epoch 3, step 1; learning_rate 0.01 until epoch 3, step 1"
    )


def test_an_interrupted_run_is_not_discarded_unasked(tmp_path: Path) -> None:
    """Refused with both options, even with a damaged checkpoint; ``restart`` trains anew."""
    make_run(tmp_path / "whole", THOROUGH, device="cpu")
    interrupt_run(tmp_path / "run")
    with pytest.raises(
        UsageError,
        match=r"run was interrupted before epoch 3, step 1 of 6 .*resume=True.*replace=True",
    ):
        make_run(tmp_path / "run", THOROUGH, device="cpu")
    assert resumed(tmp_path / "run", None, {}) == THOROUGH
    with pytest.raises(UsageError, match="use one"):
        SaveOptions(resume=True, restart=True)
    (workdir_path(tmp_path / "run") / CHECKPOINT).write_text("{")
    with pytest.raises(UsageError, match=r"run was interrupted: resume=True.*replace=True"):
        make_run(tmp_path / "run", THOROUGH, device="cpu")
    make_run(tmp_path / "run", THOROUGH, device="cpu", saving=SaveOptions(restart=True))
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_the_start_is_described_before_the_work(tmp_path: Path) -> None:
    """Changed options with old and new value, what is discarded, and what will be replaced."""

    def describe(configuration: Configuration, **start: bool) -> str | None:
        choice = {"resume": False, "restart": False, **start}
        return describe_start(tmp_path / "run", configuration, **choice)

    assert describe(THOROUGH) is None
    interrupt_run(tmp_path / "run")
    longer = resumed(tmp_path / "run", None, {"learning_rate": 0.5, "epochs": 8})
    assert describe(longer, resume=True) == (
        f"resuming {tmp_path / 'run'} at epoch 3, step 1, now with "
        "learning rate 0.5 instead of 0.01, epochs 8 instead of 6"
    )
    assert describe(THOROUGH, resume=True) == f"resuming {tmp_path / 'run'} at epoch 3, step 1"
    assert "discarding the interrupted run" in (describe(THOROUGH, restart=True) or "")
    make_run(tmp_path / "run", THOROUGH, device="cpu", saving=EVERY_STEP)
    assert "replaces at its end" in (describe(THOROUGH) or "")
    assert "it stays if it is the same" in (describe(THOROUGH, resume=True) or "")


def test_epochs_that_have_passed_are_refused(tmp_path: Path) -> None:
    """The message gives the smallest number that works: training then ends at once."""
    interrupt_run(tmp_path / "run")
    with pytest.raises(UsageError, match="beyond epochs=1: give epochs=2 or more"):
        resumed(tmp_path / "run", None, {"epochs": 1})
    ended = resumed(tmp_path / "run", None, {"epochs": 2})
    run = make_run(tmp_path / "run", ended, device="cpu", saving=EVERY_STEP).run
    assert run.record.metrics["epochs"] == 2


def test_options_of_the_table_are_compared_before_it_is_read(tmp_path: Path) -> None:
    """With both values."""
    record_table = replace(synthetic_products(THOROUGH.seed), options={"missing": "NA,NULL"})
    saving = SaveOptions(checkpoint_every_s=0)
    with pytest.raises(TrainingStopped):
        make_run(
            tmp_path / "run",
            THOROUGH,
            record_table,
            device="cpu",
            saving=saving,
            on_epoch_end=stop_after(2),
        )
    check_table_options(tmp_path / "run", {"missing": "NA,NULL"})
    with pytest.raises(UsageError, match="has missing NA,NULL, not NA: give the same options"):
        check_table_options(tmp_path / "run", {"missing": "NA"})
    with pytest.raises(UsageError, match="is one of a table: give the same data and label"):
        check_table_options(tmp_path / "run", {})


def test_an_interruption_says_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With and without a checkpoint, of this run or one to be replaced; for SIGTERM too."""
    out = tmp_path / "run"
    monkeypatch.setattr(sys, "argv", ["trainer", "fit", "--epochs", "6", "--restart"])

    def interrupt(phase: str, *, resumes: bool) -> str:
        printed = []
        for error, code in ((KeyboardInterrupt(), 130), (SystemExit(143), 143)):
            with (
                pytest.raises(SystemExit) as end,
                exit_when_interrupted(out, phase, resumes=resumes),
            ):
                raise error
            assert end.value.code == code
            printed.append(capsys.readouterr().err.strip())
        assert printed[0] == printed[1]
        return printed[0]

    assert interrupt("reading the table", resumes=False) == (
        "interrupted while reading the table: nothing was kept, since there is no checkpoint yet"
    )
    interrupt_run(out)
    assert interrupt("training", resumes=True) == (
        "interrupted while training: the checkpoint before epoch 3, step 1 is kept; "
        "resume with: trainer fit --epochs 6 --resume"
    )
    assert interrupt("reading the table", resumes=False) == (
        f"interrupted while reading the table: the interrupted run of {out}, before epoch 3, "
        "step 1, is still there"
    )


@pytest.mark.usefixtures("short_calls")
def test_diverged_training_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    """The message names it; a lower learning rate continues from there."""
    interrupt_run(tmp_path / "run", configure(epochs=6))
    wild = resumed(tmp_path / "run", None, {"learning_rate": 1e30})
    with pytest.raises(DataError, match=r"diverged.*at epoch 3, step 1 is kept: resume=True"):
        make_run(tmp_path / "run", wild, device="cpu", saving=EVERY_STEP)
    record = read_record(workdir_path(tmp_path / "run"))
    assert record is not None
    assert record.epoch == 2
    calm = resumed(tmp_path / "run", None, {"learning_rate": 0.1})
    outcome = make_run(tmp_path / "run", calm, device="cpu", saving=EVERY_STEP)
    assert outcome.run.record.metrics["accuracy"] > 0.9


def test_the_command_prints_how_to_resume(
    trainer: Trainer, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """SIGINT: exit 130 and one command, which gives the run of an uninterrupted one."""
    options = ["fit", "--out", "my run", "--epochs", "2000", "--device", "cpu"]
    with subprocess.Popen(
        [sys.executable, "-m", "trainer", *options],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("epoch ")
        process.send_signal(signal.SIGINT)
        _, printed = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in printed
    *_, advice = printed.splitlines()
    command = "trainer fit --out 'my run' --epochs 2000 --device cpu --resume"
    assert advice.endswith(f"resume with: {command}")
    again = trainer(*options, "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stderr.startswith("resuming my run at epoch ")
    whole = trainer("fit", "--out", "whole", "--epochs", "2000", "--device", "cpu", "--json")
    assert json.loads(whole.stdout)["epochs"] == 2000
    assert_same_run(tmp_path / "my run", tmp_path / "whole")
