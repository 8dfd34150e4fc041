from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from runtime.errors import DataError, UsageError
from trainer.attempt import Saving
from trainer.config import configure
from trainer.data import synthetic_products
from trainer.fit import fit
from trainer.metrics import Evaluation
from trainer.pipeline import make_run
from trainer.run import load_run

if TYPE_CHECKING:
    from pathlib import Path

QUICK = configure(epochs=1)


def content_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_run_holds_the_fit_and_what_is_known_of_it(tmp_path: Path) -> None:
    """Weights, metrics, configuration, seed and data are those of the fit."""
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
    """Record, weights, rows and metrics beside TensorBoard's folder, and nothing else."""
    assert sorted(file.name for file in finished_run.iterdir()) == [
        "metrics.json",
        "metrics.jsonl",
        "rows.safetensors",
        "run.json",
        "tensorboard",
        "weights.safetensors",
    ]
    told = msgspec.json.decode((finished_run / "metrics.json").read_bytes(), type=Evaluation)
    assert told.accuracy.share == load_run(finished_run).record.metrics["accuracy"]
    (events,) = (finished_run / "tensorboard").iterdir()
    assert events.name.startswith("events.out.tfevents.")
    assert [file.name for file in finished_run.parent.iterdir()] == ["run"]


def test_a_logdir_takes_tensorboards_files_out_of_the_run(tmp_path: Path) -> None:
    """A platform that reads a fixed folder finds them there, and only there."""
    make_run(tmp_path / "run", QUICK, saving=Saving(tmp_path / "elsewhere"), device="cpu")
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1


@pytest.mark.parametrize("inside", [".", "tensorboard", "x/../y"])
def test_a_logdir_inside_the_run_is_refused(tmp_path: Path, inside: str) -> None:
    """The run folder is replaced as a whole and would take the live files with it."""
    with pytest.raises(UsageError, match="leave --logdir away"):
        make_run(tmp_path / "run", QUICK, saving=Saving(tmp_path / "run" / inside))
    assert list(tmp_path.iterdir()) == []


def test_every_epoch_is_reported(tmp_path: Path) -> None:
    """Whoever watches sees each epoch once, in order."""
    seen: list[int] = []
    make_run(
        tmp_path / "run", configure(epochs=3), watch=lambda e: seen.append(e.index), device="cpu"
    )
    assert seen == [0, 1, 2]


def test_a_new_run_replaces_an_older_one(run_copy: Path) -> None:
    """The folder holds the new run alone, its event file included."""
    before = load_run(run_copy).record
    make_run(run_copy, configure(epochs=1, seed=99), device="cpu")
    assert load_run(run_copy).record.seed == 99 != before.seed
    assert len(list((run_copy / "tensorboard").iterdir())) == 1


def test_a_fit_that_diverges_leaves_the_older_run(run_copy: Path) -> None:
    """Not a byte of it changes and no half-written folder stays beside it."""
    before = content_of(run_copy)
    with pytest.raises(DataError, match="diverged"):
        make_run(run_copy, configure(learning_rate=1e30), device="cpu")
    assert content_of(run_copy) == before
    assert list(run_copy.parent.iterdir()) == [run_copy]


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    """Only a run or an empty folder gives way; it is refused before any time is spent."""
    (tmp_path / "thesis.txt").write_text("three years of work")
    epochs: list[object] = []
    with pytest.raises(UsageError, match=r"no run\.json"):
        make_run(tmp_path, QUICK, watch=epochs.append)
    assert epochs == []
    assert content_of(tmp_path) == {"thesis.txt": b"three years of work"}
