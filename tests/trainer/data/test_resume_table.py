from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from runtime.errors import ArtifactError
from trainer.checkpoint.manager import TrainingStopped
from trainer.config import configure
from trainer.data.cell_options import DateFormats
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource
from trainer.pipeline import make_run
from trainer.session import SaveOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.checkpoint.state import Epoch

    Save = Callable[[str, dict[str, list[Any]]], Path]


def interrupt(epoch: Epoch) -> None:
    """Send SIGINT after the second epoch."""
    if epoch.index == 1:
        os.kill(os.getpid(), signal.SIGINT)


def test_a_run_with_gaps_is_resumed(save: Save, tmp_path: Path) -> None:
    """Categories and missing numbers: the resumed run has the bytes of an uninterrupted one."""
    generator = np.random.default_rng(3)
    number = generator.normal(size=300).round(3)
    path = save(
        "mine.csv",
        {
            "size": [None if index % 9 == 0 else value for index, value in enumerate(number)],
            "colour": generator.choice(["rot", "blau"], 300).tolist(),
            "kind": np.where(number > 0, "ja", "nein").tolist(),
        },
    )
    configuration = configure(epochs=5, validation=0.2)

    def make(name: str, watch: Callable[[Epoch], None], *, resume: bool) -> None:
        dataset = read_dataset(TableSource(path, "kind"), configuration.seed)
        saving = SaveOptions(resume=resume, checkpoint_every_s=0)
        make_run(
            tmp_path / name, configuration, dataset, device="cpu", saving=saving, on_epoch_end=watch
        )

    make("whole", lambda _: None, resume=False)
    with pytest.raises(TrainingStopped):
        make("cut", interrupt, resume=False)
    make("cut", lambda _: None, resume=True)
    for name in ("run.json", "weights.safetensors", "metrics.jsonl", "metrics.json"):
        whole, cut = ((tmp_path / run / name).read_bytes() for run in ("whole", "cut"))
        assert cut == whole, name


OPTIONS: dict[str, Any] = {
    "missing": ("NA",),
    "date_formats": DateFormats("dmy"),
    "fold_categories": True,
    "rare": "other",
    "max_categories": 3,
    "bad_rows": "reject",
}
CHANGES: dict[str, Any] = {
    "missing": ("NA", "NULL"),  # which the table does not have: its rows stay the same
    "date_formats": DateFormats("", {"day": "dmy"}),
    "fold_categories": False,
    "rare": "error",
    "max_categories": 4,
    "bad_rows": "fail",
}


def test_a_run_is_resumed_with_the_options_of_its_table(save: Save, tmp_path: Path) -> None:
    """With the bits of a whole run; another option that changes no row makes another run."""
    columns: dict[str, list[Any]] = {
        "size": [
            None if at % 9 == 0 else "NA" if at % 7 == 0 else at * 37 % 101 for at in range(90)
        ],
        "day": [f"{at % 28 + 1}.2.2024" for at in range(90)],
        "colour": ["red", "blue"] * 45,
        "kind": ["yes", "no", "no"] * 30,
    }
    path = save("mine.csv", columns)
    configuration = configure(epochs=4)

    def make(name: str, options: dict[str, Any], *, stop: bool, resume: bool = False) -> None:
        dataset = read_dataset(TableSource(path, "kind", **options), configuration.seed)
        saving = SaveOptions(resume=resume, checkpoint_every_s=0)
        make_run(
            tmp_path / name,
            configuration,
            dataset,
            device="cpu",
            saving=saving,
            on_epoch_end=interrupt if stop else lambda _: None,
        )

    make("whole", OPTIONS, stop=False)
    with pytest.raises(TrainingStopped):
        make("cut", OPTIONS, stop=True)
    for name, value in CHANGES.items():
        changed = "date_format" if name == "date_formats" else name
        with pytest.raises(ArtifactError, match=f"{changed.replace('_', ' ')} .*, not "):
            make("cut", {**OPTIONS, name: value}, stop=False, resume=True)
    make("cut", OPTIONS, stop=False, resume=True)
    for name in ("run.json", "weights.safetensors", "metrics.jsonl", "metrics.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
