"""Two processes on loopback, started by torchrun, fit what one process fits."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from runtime.errors import UsageError
from runtime.io.workdir import workdir_path
from trainer.checkpoint import CHECKPOINT
from trainer.ranks.agreement import why_absent
from trainer.ranks.place import Place, command_words, find_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Trainer = Callable[..., subprocess.CompletedProcess[str]]
    Start = Callable[..., subprocess.Popen[str]]

SECONDS = 150  # bound of a run of two processes, which takes ten
TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "none",
}
# 600 rows remain to learn from, in batches of 599 and 1: the last leaves rank 0 without a row.
UNEVEN = ("--validation", "0.25", "--batch-size", "599", "--class-weights", "balanced")
LONG = ("--epochs", "100000", "--checkpoint-every", "0.1", "--batch-size", "200")


@pytest.fixture
def start(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Start]:
    """``start(*arguments)``: two processes of ``trainer``, or of a program text."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str, program: str | None = None) -> subprocess.Popen[str]:
        what = ["-m", "trainer"]
        if program is not None:
            (tmp_path / "program.py").write_text(program)
            what = ["program.py"]
        launch = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        process = subprocess.Popen(
            [sys.executable, "-m", *launch, *what, *arguments],
            cwd=tmp_path,
            env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        process.communicate()


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Wait for torchrun; what it has not ended by itself then, the fixture ends."""
    return process.communicate(timeout=SECONDS)


def follower_of(process: subprocess.Popen[str]) -> int:
    """The process id of rank 1, a child of torchrun."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if b"\0RANK=1\0" in Path(f"/proc/{child}/environ").read_bytes():
            return int(child)
    raise AssertionError("there is no rank 1")


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str]) -> None:
    limit = time.monotonic() + SECONDS
    while not (workdir_path(run) / CHECKPOINT).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)


@given(rows=st.integers(0, 10_000), size=st.integers(1, 50))
def test_parts_are_the_batch(rows: int, size: int) -> None:
    """Every row of a batch is one process's, in order, and no part is two rows larger."""
    parts = [range(rows)[Place(rank, size, rank, size).part_of(rows)] for rank in range(size)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert max(map(len, parts)) <= -(-rows // size)


def test_torchrun_is_told_by_all_its_variables() -> None:
    """A variable less, or one process: the fit is an ordinary one."""
    assert find_place(TORCHRUN) == Place(1, 2, 1, 2)
    for name in TORCHRUN:
        assert find_place({key: TORCHRUN[key] for key in TORCHRUN if key != name}) is None
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert find_place(TORCHRUN | alone) is None
    assert command_words({}) == ["trainer"]
    assert command_words(TORCHRUN) == ["torchrun", "--nproc-per-node", "2", "-m", "trainer"]


@pytest.mark.parametrize("wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "many"}])
def test_variables_that_do_not_fit_are_refused(wrong: dict[str, str]) -> None:
    """A number that is none, or a rank outside the group, is named."""
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        find_place(TORCHRUN | wrong)


def test_one_process_loads_nothing_of_it(tmp_path: Path) -> None:
    """Without torchrun no group of processes is made, nor what speaks to one loaded."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from trainer.config import configure\nfrom trainer.pipeline import make_run\n"
        "make_run(Path('run'), configure(epochs=1), device='cpu')\n"
        "import torch\nassert not torch.distributed.is_initialized()\n"
        "print(sorted(name for name in sys.modules if name.startswith('trainer.ranks.')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['trainer.ranks.place', 'trainer.ranks.team']"
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "processes" not in record["configuration"]


@pytest.mark.parametrize(("optimiser", "rate"), [("sgd", "0.1"), ("adamw", "0.01")])
def test_two_processes_fit_what_one_fits(
    start: Start, trainer: Trainer, tmp_path: Path, optimiser: str, rate: str
) -> None:
    """The same run but for rounding: uneven parts, a part without rows, weights of classes.

    A gradient is a mean over at most 599 rows; in two orders of summation it differs by at most
    2 gamma(599 + 32 + 2) = 7.6e-5 of the mean of its terms' sizes (Higham, chapter 3), which are
    below 2 here. Of SGD's 20 steps of rate 0.1 that makes 3e-4 at most, where descent does not
    enlarge it. AdamW divides a gradient by its size: a step of rate 0.01 is as wrong, relatively,
    as the gradient; that of one below a third of its terms' size makes the same bound.
    """
    options = ["fit", *UNEVEN, "--optimiser", optimiser, "--learning-rate", rate]
    options += ["--device", "cpu", "--out"]
    process = start(*options, "two")
    _, err = end(process)
    assert process.returncode == 0, err
    assert err.count("epoch 10/10") == 1, "rank 0 alone prints"
    alone = trainer(*options, "one")
    assert alone.returncode == 0, alone.stderr
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "rows.safetensors").read_bytes() == (two / "rows.safetensors").read_bytes()
    for name, weight in load_file(one / "weights.safetensors").items():
        other = load_file(two / "weights.safetensors")[name]
        assert torch.allclose(other, weight, rtol=0, atol=3e-4), name
    record = json.loads((two / "run.json").read_text())
    assert record["configuration"]["processes"] == 2
    assert record["metrics"]["train_rows"] == 800


def test_a_lost_process_ends_all_and_the_fit_goes_on(
    start: Start, tmp_path: Path, trainer: Trainer
) -> None:
    """Kill -9 of one: one message, no run; --resume in as many ends with the same bytes."""
    process = start("fit", *LONG, "--out", "run")
    wait_for_checkpoint(tmp_path / "run", process)
    os.kill(follower_of(process), signal.SIGKILL)
    _, err = end(process)
    assert process.returncode != 0
    said = [line for line in err.splitlines() if line.startswith(("trainer: ", "stopped "))]
    assert len(said) == 1, err
    assert not (tmp_path / "run").exists()
    record = json.loads((workdir_path(tmp_path / "run") / CHECKPOINT).read_text())
    epochs = str(record["epoch"] + 2)
    alone = trainer("fit", "--resume", "--out", "run", "--epochs", epochs)
    assert alone.returncode == 4, "one process adds up in another order: another fit"
    assert "processes" in alone.stderr
    for options in (("run", "--resume"), ("whole", *LONG[2:])):
        process = start("fit", "--epochs", epochs, "--out", *options)
        _, err = end(process)
        assert process.returncode == 0, err
    for file in ("weights.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_sigterm_ends_all_after_a_step(start: Start, tmp_path: Path) -> None:
    """Torchrun passes the signal on: a checkpoint, and the command to go on, said once."""
    process = start("fit", *LONG, "--out", "run")
    wait_for_checkpoint(tmp_path / "run", process)
    process.send_signal(signal.SIGTERM)
    _, err = end(process)
    assert err.count("go on with: torchrun --nproc-per-node 2 -m trainer fit --epochs") == 1, err
    assert "trainer: error" not in err
    assert not (tmp_path / "run").exists()


def test_a_mistake_is_told_once(start: Start, tmp_path: Path) -> None:
    """Rank 0 alone reads and complains; both processes have its exit code."""
    process = start("fit", "--data", "none.csv", "--label", "x")
    _, err = end(process)
    assert err.count("trainer: error:") == 1
    assert err.count("none.csv") == 1
    assert set(re.findall(r"exitcode  : (-?\d+)", err)) == {"3"}
    assert list(tmp_path.iterdir()) == []


def test_other_commands_run_once(start: Start) -> None:
    """What fits nothing is done by rank 0; the others end with it."""
    out, err = end(start("sample", "--rows", "2", "--out", "-"))
    assert out.count("price,rating,popular") == 1
    assert err.count("2 products written") == 1


def test_more_processes_than_devices_are_refused() -> None:
    """On CUDA each process has a device of its own; on the CPU there may be any number."""
    place = Place(0, 10**6, 0, 10**6)
    assert "for 1000000 processes: give torchrun" in why_absent(place, is_cuda=True)
    assert not why_absent(place, is_cuda=False)


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_fit_what_the_cpu_fits(start: Start, trainer: Trainer, tmp_path: Path) -> None:
    """Over NCCL the weights are those of one process on the CPU, but for rounding."""
    process = start("fit", *UNEVEN, "--device", "cuda", "--out", "two")
    _, err = end(process)
    assert process.returncode == 0, err
    alone = trainer("fit", *UNEVEN, "--device", "cpu", "--out", "one")
    assert alone.returncode == 0, alone.stderr
    for name, weight in load_file(tmp_path / "one" / "weights.safetensors").items():
        other = load_file(tmp_path / "two" / "weights.safetensors")[name]
        assert torch.allclose(other, weight, rtol=0, atol=3e-4), name


BESIDE = """
import os
if os.environ["RANK"] == "1":
    os.makedirs("elsewhere")
    os.chdir("elsewhere")
from trainer.cli import main
main()
"""


def test_rank_0_alone_reads_and_writes(start: Start, tmp_path: Path, trainer: Trainer) -> None:
    """Another process, in a folder of its own, needs no table there and leaves nothing."""
    assert trainer("sample", "--rows", "300", "--out", "mine.csv").returncode == 0
    process = start("fit", "--data", "mine.csv", "--label", "popular", program=BESIDE)
    _, err = end(process)
    assert process.returncode == 0, err
    assert (tmp_path / "artifacts" / "run" / "run.json").exists()
    assert list((tmp_path / "elsewhere").iterdir()) == []


FAULTY = """
import os
from trainer.ranks.part import Part
make_steps = Part.run
def make_wrong_steps(self, *arguments, **options):
    make_steps(self, *arguments, **options)
    if os.environ["RANK"] == "1":
        self._state.values[0] += 1e-6
Part.run = make_wrong_steps
from trainer.cli import main
main()
"""


def test_other_bits_are_an_error(start: Start, tmp_path: Path) -> None:
    """A process that ends up with another weight, by one bit, is named; there is no run."""
    process = start("fit", program=FAULTY)
    _, err = end(process)
    assert err.count("rank 1 and rank 0 have different weights") == 1, err
    assert err.count("exitcode  : 6") >= 1
    assert not (tmp_path / "artifacts" / "run").exists()
