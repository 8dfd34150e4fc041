from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import numpy as np
import pytest

from trainer.checkpoint.manager import TrainingStopped
from trainer.config import configure
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource
from trainer.pipeline import make_run
from trainer.session import SaveOptions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Any

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
