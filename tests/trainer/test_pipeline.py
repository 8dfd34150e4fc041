from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from runtime.errors import DataError, UsageError
from trainer.config import configure
from trainer.data.products import synthetic_products
from trainer.evaluation.metrics import Evaluation
from trainer.fit import fit
from trainer.fitting import fit_table
from trainer.pipeline import make_run
from trainer.run import load_run
from trainer.session import SaveOptions

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Trainer = Callable[..., subprocess.CompletedProcess[str]]

QUICK = configure(epochs=1)


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_run_has_the_model_and_its_metadata(tmp_path: Path) -> None:
    """Weights, metrics, configuration, seed and data are those of training."""
    configuration = configure("tutorial", epochs=2, batch_size=100, seed=6)
    outcome = make_run(tmp_path / "deep" / "run", configuration, device="cpu")
    run = load_run(tmp_path / "deep" / "run")
    dataset = synthetic_products(6)
    fitted = fit(dataset, configuration)
    assert run.record == outcome.run.record
    assert run.record.seed == 6
    assert run.record.hidden == (32,)
    assert run.record.schema == dataset.schema
    assert run.record.data_digest == dataset.digest()
    assert run.record.configuration == configuration.to_record("cpu")
    assert set(run.record.versions) == {"onnxferry", "python", "torch", "numpy"}
    assert run.record.metrics == {
        "accuracy": fitted.last.accuracy,
        "loss": fitted.last.loss,
        "test_loss": fitted.last.test_loss,
        "train_rows": 800,
        "test_rows": 200,
        "epochs": 2,
    }
    for ours, theirs in zip(run.model.parameters(), fitted.model.parameters(), strict=True):
        assert ours.detach().numpy().tobytes() == theirs.detach().numpy().tobytes()


def test_the_folder_has_the_documented_files(finished_run: Path) -> None:
    """Record, weights, rows, metrics and TensorBoard's folder, and nothing else."""
    assert sorted(file.name for file in finished_run.iterdir()) == [
        "metrics.json",
        "metrics.jsonl",
        "rows.safetensors",
        "run.json",
        "tensorboard",
        "weights.safetensors",
    ]
    evaluation = msgspec.json.decode((finished_run / "metrics.json").read_bytes(), type=Evaluation)
    assert evaluation.accuracy.share == load_run(finished_run).record.metrics["accuracy"]
    (events,) = (finished_run / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents.")
    assert [file.name for file in finished_run.parent.iterdir()] == ["run"]


def test_event_files_go_to_the_logdir(tmp_path: Path) -> None:
    """Event files are in --logdir and not in the run."""
    saving = SaveOptions(tmp_path / "new" / ".." / "elsewhere")
    make_run(tmp_path / "run", QUICK, saving=saving, device="cpu")
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert not (tmp_path / "new").exists()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


@pytest.mark.parametrize("inside", [".", "tensorboard", "x/../y"])
def test_a_logdir_inside_the_run_is_refused(tmp_path: Path, inside: str) -> None:
    """The run directory is replaced as a whole, with the files in it."""
    with pytest.raises(UsageError, match="without logdir"):
        make_run(tmp_path / "run", QUICK, saving=SaveOptions(tmp_path / "run" / inside))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("work", ["run.partial", "run.tuning.partial/x"])
def test_a_logdir_inside_a_work_folder_is_refused(tmp_path: Path, work: str) -> None:
    """The work folder is removed at the end, with the curves in it."""
    with pytest.raises(UsageError, match=r"inside the work folder .*partial.* without logdir"):
        make_run(tmp_path / "run", QUICK, saving=SaveOptions(tmp_path / work))


def test_the_current_and_the_root_folder_are_no_runs(trainer: Trainer) -> None:
    """By any of their names."""
    for name in (".", "", "new/.."):
        refusal = trainer("fit", "--epochs", "1", "--out", name)
        assert (refusal.returncode, refusal.stdout) == (2, "")
        assert "is or contains the current folder" in refusal.stderr
    assert "/ is the root folder; give the name" in trainer("fit", "--out", "/").stderr
    with pytest.raises(UsageError, match="is the root folder"):
        fit_table({"x": [1.0, 2.0] * 10, "y": ["a", "b"] * 10}, "y", out="/")


def test_a_logdir_in_a_loop_of_links_is_a_usage_error(tmp_path: Path) -> None:
    """It is told as any other that cannot be written."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError, match=r"cannot write .*/loop"):
        make_run(tmp_path / "run", QUICK, saving=SaveOptions(tmp_path / "loop" / "tb"))


def test_every_epoch_is_reported(tmp_path: Path) -> None:
    """The callback receives each epoch once, in order."""
    seen: list[int] = []
    make_run(
        tmp_path / "run",
        configure(epochs=3),
        on_epoch_end=lambda e: seen.append(e.index),
        device="cpu",
    )
    assert seen == [0, 1, 2]


def test_a_new_run_replaces_the_previous_one(run_copy: Path) -> None:
    """The folder has only files of the new run, event file included."""
    before = load_run(run_copy).record
    make_run(run_copy, configure(epochs=1, seed=99), device="cpu")
    assert load_run(run_copy).record.seed == 99 != before.seed
    assert len(list((run_copy / "tensorboard").iterdir())) == 1


def test_diverged_training_keeps_the_previous_run(run_copy: Path) -> None:
    """No byte of it changes, and no partial folder is left."""
    before = content_of(run_copy)
    with pytest.raises(DataError, match="diverged"):
        make_run(run_copy, configure(learning_rate=1e30), device="cpu")
    assert content_of(run_copy) == before
    assert list(run_copy.parent.iterdir()) == [run_copy]


def test_another_folder_is_not_replaced(tmp_path: Path) -> None:
    """Only a run or an empty folder is replaced; refused before training."""
    (tmp_path / "thesis.txt").write_text("three years of work")
    epochs: list[object] = []
    with pytest.raises(UsageError, match=r"no run\.json"):
        make_run(tmp_path, QUICK, on_epoch_end=epochs.append)
    assert epochs == []
    assert content_of(tmp_path) == {"thesis.txt": b"three years of work"}
