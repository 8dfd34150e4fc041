from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch

from runtime.terminal.options import DEFAULT_RUN
from trainer.run import load_run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Trainer = Callable[..., subprocess.CompletedProcess[str]]

FILES = ("run.json", "weights.safetensors", "rows.safetensors")


def test_the_same_seed_gives_the_same_bytes_in_any_folder(trainer: Trainer, tmp_path: Path) -> None:
    """Two processes, two folders, two output formats: the same run."""
    folders = [tmp_path / "here", tmp_path / "and there"]
    for folder in folders:
        folder.mkdir()
    shown = trainer("fit", "--seed", "5", folder=folders[0])
    counted = trainer("fit", "--seed", "5", "--json", "--out", "mine", folder=folders[1])
    assert (shown.returncode, counted.returncode) == (0, 0), shown.stderr + counted.stderr
    for name in FILES:
        ours, theirs = folders[0] / DEFAULT_RUN / name, folders[1] / "mine" / name
        assert ours.read_bytes() == theirs.read_bytes()
    check_output(shown, load_run(folders[0] / DEFAULT_RUN).record.metrics)
    check_json(counted, load_run(folders[0] / DEFAULT_RUN).record.metrics)


def check_output(done: subprocess.CompletedProcess[str], metrics: Mapping[str, float]) -> None:
    """The prediction is on stdout, a line per epoch and the summary on stderr."""
    assert re.fullmatch(
        r"price 7\.5, rating 3\.0: popular \(probability 0\.[6-9]\d\)\n", done.stdout
    )
    *lines, summary, following = done.stderr.splitlines()
    epochs, evaluation = lines[:10], "\n".join(lines[10:])
    assert "on 200 test rows; 95 % interval" in evaluation
    assert "true \\ predicted" in evaluation
    assert [line.split()[1] for line in epochs] == [f"{index}/10" for index in range(1, 11)]
    assert f"train loss {metrics['loss']:.4f}, test loss {metrics['test_loss']:.4f}" in summary
    assert f"test accuracy {metrics['accuracy']:.1%}" in summary
    assert following == "run: artifacts/run; next: exporter export"


def check_json(done: subprocess.CompletedProcess[str], metrics: Mapping[str, float]) -> None:
    """Stdout is one JSON object with the documented keys."""
    output = json.loads(done.stdout)
    assert output.pop("seconds") > 0
    assert output.pop("device") in {"cpu", "cuda"}
    assert 1 <= output.pop("lowest_test_loss_epoch") <= 10
    assert output.pop("evaluation")["accuracy"]["share"] == metrics["accuracy"]
    assert output == {
        "accuracy": metrics["accuracy"],
        "loss": metrics["loss"],
        "test_loss": metrics["test_loss"],
        "rows": 800,
        "test_rows": 200,
        "epochs": 10,
        "run": "mine",
    }


def test_a_sample_has_the_requested_rows(trainer: Trainer, tmp_path: Path) -> None:
    """A header and the requested number of rows, which depend on the seed."""
    done = trainer("sample", "--rows", "1234", "--out", "products.csv", "--seed", "8")
    assert done.returncode == 0
    assert done.stdout == ""
    assert done.stderr == "1,234 products written to products.csv\n"
    written = (tmp_path / "products.csv").read_text()
    assert len(written.splitlines()) == 1235
    assert trainer("sample", "--rows", "1234", "--out", "-", "--seed", "8").stdout == written


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("fit --epochs 0", 2, "epochs must be at least 1"),
        ("fit --batch-size 0", 2, "batch size must be at least 1"),
        ("fit --learning-rate nan", 2, "learning rate"),
        ("fit --seed -1", 2, "seed"),
        ("fit --seed 9223372036854775808", 2, "seed"),
        ("fit --preset fast", 2, "--preset"),
        ("fit --device tpu", 2, "--device"),
        ("sample --rows 0 --out x.csv", 2, "rows"),
        ("sample --rows 5 --out missing/x.csv", 2, "missing"),
        ("sample --rows 5", 2, "--out"),
        ("sample --rows 1000000 --out /dev/full", 3, "No space left"),
        ("fit --learning-rate 1e30", 3, "diverged"),
        pytest.param(
            "fit --device cuda",
            6,
            "--device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is present"),
        ),
    ],
)
def test_an_error_is_one_message_and_its_code(
    trainer: Trainer, tmp_path: Path, arguments: str, code: int, message: str
) -> None:
    """Nothing on stdout, no traceback, nothing left behind."""
    done = trainer(*arguments.split())
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_the_version_is_the_distributions(trainer: Trainer) -> None:
    """``--version`` prints name and version on stdout."""
    done = trainer("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"onnxferry \d+\.\d+\.\d+\S*\n", done.stdout)


def test_a_sample_needs_no_torch(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Sampling works without the train extra."""
    program = (
        "import sys; sys.modules['torch'] = None; from trainer.cli import main; "
        f"sys.argv[1:] = ['sample', '--rows', '3', '--out', {str(tmp_path / 'p.csv')!r}]; main()"
    )
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 4
