"""Two processes on loopback fit what one process fits.

torchrun starts them where it is the subject: what it forwards, ends and reports. Elsewhere they are
forked from a process that has loaded torch, with the store and the variables of torchrun.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # documented

from runtime.errors import UnavailableError, UsageError
from runtime.io.temporary import workdir_path
from trainer.checkpoint.format import CHECKPOINT
from trainer.distributed.environment import ProcessRank, launch_command, read_environment
from trainer.distributed.group import claim_device
from trainer.loggers.collection import METRICS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Done = subprocess.CompletedProcess[str]
    Trainer = Callable[..., Done]
    Start = Callable[..., subprocess.Popen[str]]
    Fork = Callable[..., list[Forked]]

ROOT = Path(__file__).parents[3]
SECONDS = 150  # limit for a run of two processes, which takes ten
TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "1",
    "TORCHELASTIC_RUN_ID": "none",
}
# 600 training rows remain, in batches of 599 and 1: rank 0's shard of the last is empty.
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
            env={**environment, "PYTHONPATH": str(ROOT)},
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


def end(process: subprocess.Popen[str]) -> Done:
    """Wait for torchrun to exit; after a timeout the fixture terminates it."""
    out, err = process.communicate(timeout=SECONDS)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def fork(tmp_path: Path, environment: Mapping[str, str]) -> Iterator[Fork]:
    """``fork(*arguments)``: two processes of ``trainer``, as torchrun would start them.

    ``on_rank_0`` and ``on_rank_1`` are Python that they run first.
    """
    stores, started = [], []

    def run(*arguments: str, on_rank_0: str = "", on_rank_1: str = "") -> list[Forked]:
        stores.append(TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False))
        agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_PORT": str(stores[-1].port)}
        variables = {**environment, **TORCHRUN, **agent}
        pair = [
            Forked(
                *("trainer", *arguments),
                folder=tmp_path,
                environment={**variables, "RANK": rank, "LOCAL_RANK": rank},
                first=first,
            )
            for rank, first in (("0", on_rank_0), ("1", on_rank_1))
        ]
        started.extend(pair)
        return pair

    yield run
    for process in started:
        process.close()


def end_all(pair: list[Forked]) -> Done:
    """Wait for both to end as one: with one exit code, and nothing from the second."""
    first, second = (process.wait(SECONDS) for process in pair)
    assert (second.returncode, second.stdout, second.stderr) == (first.returncode, "", "")
    return first


def wait_for_checkpoint(run: Path, process: subprocess.Popen[str] | Forked) -> None:
    limit = time.monotonic() + SECONDS
    while not (workdir_path(run) / CHECKPOINT).exists():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)


def wait_until_idle(log: Path) -> None:
    """Wait until no epoch is added: the other process has sent what it had, and is missed."""
    size = -1
    while size != (size := log.stat().st_size):
        time.sleep(0.15)


@given(rows=st.integers(0, 10_000), size=st.integers(1, 50))
def test_shards_partition_the_batch(rows: int, size: int) -> None:
    """Every row of a batch is in one shard, in order; sizes differ by at most one."""
    shards = [range(rows)[ProcessRank(rank, size, rank, size).shard(rows)] for rank in range(size)]
    assert [row for shard in shards for row in shard] == list(range(rows))
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert max(map(len, shards)) <= -(-rows // size)


def test_torchrun_is_recognised_by_all_its_variables() -> None:
    """With a variable missing, or a single process, the fit is not distributed."""
    assert read_environment(TORCHRUN) == ProcessRank(1, 2, 1, 2)
    for name in TORCHRUN:
        assert read_environment({key: TORCHRUN[key] for key in TORCHRUN if key != name}) is None
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert read_environment(TORCHRUN | alone) is None
    assert launch_command({}) == ["trainer"]
    assert launch_command(TORCHRUN) == ["torchrun", "--nproc-per-node", "2", "-m", "trainer"]
    nodes = TORCHRUN | {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    several = ["torchrun", "--nnodes", "2", "--nproc-per-node", "1", "-m", "trainer"]
    assert launch_command(nodes) == several
    assert launch_command(nodes | {"PET_NNODES": "2"}) == ["torchrun", "-m", "trainer"]


@pytest.mark.parametrize("wrong", [{"RANK": "2"}, {"RANK": "-1"}, {"WORLD_SIZE": "many"}])
def test_inconsistent_variables_are_rejected(wrong: dict[str, str]) -> None:
    """The message names what is not a number, or a rank outside the group."""
    with pytest.raises(UsageError, match=f"{next(iter(wrong))}={next(iter(wrong.values()))}"):
        read_environment(TORCHRUN | wrong)


def test_a_single_process_imports_no_process_group(tmp_path: Path) -> None:
    """Without torchrun no process group is made, nor the modules for one imported."""
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from trainer.config import configure\nfrom trainer.pipeline import make_run\n"
        "make_run(Path('run'), configure(epochs=1), device='cpu')\n"
        "import torch\nassert not torch.distributed.is_initialized()\n"
        "print(sorted(name for name in sys.modules if name.startswith('trainer.distributed.')))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (
        done.stdout.strip() == "['trainer.distributed.environment', 'trainer.distributed.launch']"
    )
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert "processes" not in record["configuration"]


@pytest.mark.parametrize(
    ("optimiser", "by_torchrun"),
    [
        (("--optimiser", "sgd", "--learning-rate", "0.1"), True),
        (("--optimiser", "adamw", "--learning-rate", "0.01"), False),
        (("--members", "3", "--validation", "0", "--folds", "3", "--calibrate"), False),
    ],
    ids=["sgd", "adamw", "ensemble"],
)
def test_two_processes_fit_what_one_fits(
    start: Start,
    fork: Fork,
    trainer: Trainer,
    tmp_path: Path,
    optimiser: tuple[str, ...],
    *,
    by_torchrun: bool,
) -> None:
    """The same run except for rounding: uneven and empty shards, class weights.

    A gradient is a mean over at most 599 rows; in two orders of summation it differs by at most
    2 gamma(599 + 32 + 2) = 7.6e-5 of the mean of its terms' sizes (Higham, chapter 3), which are
    below 2 here. Of SGD's 20 steps of rate 0.1 that makes 3e-4 at most, where descent does not
    enlarge it. AdamW divides a gradient by its size: a step of rate 0.01 is as wrong, relatively,
    as the gradient; that of one below a third of its terms' size makes the same bound.
    """
    options = ("fit", *UNEVEN, *optimiser, "--device", "cpu", "--out")
    done = end(start(*options, "two")) if by_torchrun else end_all(fork(*options, "two"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 10/10") == 1, "rank 0 alone prints"
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


def test_two_launches_with_the_variables_of_kubeflow_fit_what_one_does(
    fork: Fork, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Two nodes with a process each end with the bits of one with two; the first alone writes."""
    options = ("fit", *UNEVEN, "--epochs", "3", "--device", "cpu", "--out", "run", "--resume")
    assert end_all(fork(*options)).returncode == 0
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    kubeflow = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_PORT": port}
    # torchrun itself warns on the node that ends last: the other one had its store.
    kubeflow["TORCH_CPP_LOG_LEVEL"] = "ERROR"
    nodes = []
    for rank in ("0", "1"):
        (folder := tmp_path / f"node-{rank}").mkdir()
        own = {"PET_NODE_RANK": rank, "PET_MASTER_ADDR": "127.0.0.1"}
        nodes.append(
            subprocess.Popen(
                [sys.executable, "-m", "torch.distributed.run", "-m", "trainer", *options],
                cwd=folder,
                env={**environment, **kubeflow, **own, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    first, second = [end(node) for node in nodes]
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    assert first.stderr.count("epoch 3/3") == 1
    assert second.stdout + second.stderr == ""
    assert list((tmp_path / "node-1").iterdir()) == []
    for file in ("weights.safetensors", "rows.safetensors", "run.json"):
        expected = (tmp_path / "run" / file).read_bytes()
        assert (tmp_path / "node-0" / "run" / file).read_bytes() == expected, file


WITH_PID = """
import os
from pathlib import Path
from trainer.cli import main
Path("rank" + os.environ["RANK"]).write_text(str(os.getpid()))
main()
"""


def test_a_lost_process_ends_all_and_the_fit_resumes(
    start: Start, fork: Fork, tmp_path: Path, trainer: Trainer
) -> None:
    """After kill -9 of one: one message, no run; --resume in as many gives the same bytes."""
    process = start("fit", *LONG, "--out", "run", program=WITH_PID)
    wait_for_checkpoint(tmp_path / "run", process)
    os.kill(int((tmp_path / "rank1").read_text()), signal.SIGKILL)
    done = end(process)
    assert done.returncode != 0
    printed = done.stderr.splitlines()
    assert sum(line.startswith(("trainer: ", "stopped ")) for line in printed) == 1, printed
    assert not (tmp_path / "run").exists()
    record = json.loads((workdir_path(tmp_path / "run") / CHECKPOINT).read_text())
    epochs = str(record["epoch"] + 2)
    alone = trainer("fit", "--resume", "--out", "run", "--epochs", epochs)
    assert alone.returncode == 4, "one process sums in another order: a different fit"
    assert "processes" in alone.stderr
    for options in (("run", "--resume"), ("whole", *LONG[2:])):
        done = end_all(fork("fit", "--epochs", epochs, "--out", *options))
        assert done.returncode == 0, done.stderr
    for file in ("weights.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


IMPATIENT = "from trainer.distributed import watchdog; watchdog.PATIENCE_S = 0.5"


def test_a_process_that_hangs_does_not_keep_the_others(fork: Fork, tmp_path: Path) -> None:
    """A collective waits for it in C++, where no signal is handled: one message; it resumes."""
    pair = fork("fit", *LONG, "--out", "run", on_rank_0=IMPATIENT)
    wait_for_checkpoint(tmp_path / "run", pair[0])
    os.kill(pair[1].pid, signal.SIGSTOP)
    wait_until_idle(workdir_path(tmp_path / "run") / METRICS)
    os.kill(pair[0].pid, signal.SIGTERM)
    done = pair[0].wait(SECONDS)
    os.kill(pair[1].pid, signal.SIGKILL)
    assert done.returncode == UnavailableError.exit_code, done.stderr
    assert done.stderr.count("trainer: error: a process of this fit has ended (no answer") == 1
    assert done.stderr.endswith("continue with --resume\n")
    assert not (tmp_path / "run").exists()
    record = json.loads((workdir_path(tmp_path / "run") / CHECKPOINT).read_text())
    options = ("--epochs", str(record["epoch"] + 2), "--out", "run", "--resume")
    assert end_all(fork("fit", *options)).returncode == 0


def test_sigterm_stops_all_after_a_step(start: Start, tmp_path: Path) -> None:
    """Torchrun forwards the signal: a checkpoint, and one line with the command to resume."""
    process = start("fit", *LONG, "--out", "run")
    wait_for_checkpoint(tmp_path / "run", process)
    process.send_signal(signal.SIGTERM)
    err = end(process).stderr
    assert err.count("resume with: torchrun --nproc-per-node 2 -m trainer fit --epochs") == 1, err
    assert "trainer: error" not in err
    assert not (tmp_path / "run").exists()


def test_an_error_is_printed_once(fork: Fork, tmp_path: Path) -> None:
    """All processes fail, rank 0 prints why; both have its exit code."""
    done = end_all(fork("fit", "--data", "none.csv", "--label", "x"))
    assert done.returncode == 3
    assert done.stderr.count("trainer: error:") == 1
    assert done.stderr.count("none.csv") == 1
    assert list(tmp_path.iterdir()) == []


def test_other_commands_run_once(fork: Fork) -> None:
    """Rank 0 runs a command that fits nothing; the others exit with it."""
    done = end_all(fork("sample", "--rows", "2", "--out", "-"))
    assert done.returncode == 0
    assert done.stdout.count("price,rating,popular") == 1
    assert done.stderr.count("2 products written") == 1


def test_more_processes_than_devices_are_rejected() -> None:
    """On CUDA each process needs a device of its own."""
    with pytest.raises(UnavailableError, match="for 1000000 processes: give torchrun"):
        claim_device(ProcessRank(0, 10**6, 0, 10**6))


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_fit_what_the_cpu_fits(start: Start, trainer: Trainer, tmp_path: Path) -> None:
    """Over NCCL the weights equal those of one process on the CPU, except for rounding."""
    done = end(start("fit", *UNEVEN, "--device", "cuda", "--out", "two"))
    assert done.returncode == 0, done.stderr
    alone = trainer("fit", *UNEVEN, "--device", "cpu", "--out", "one")
    assert alone.returncode == 0, alone.stderr
    for name, weight in load_file(tmp_path / "one" / "weights.safetensors").items():
        other = load_file(tmp_path / "two" / "weights.safetensors")[name]
        assert torch.allclose(other, weight, rtol=0, atol=3e-4), name


SECOND_FOLDER = """
import os
os.makedirs("elsewhere")
os.chdir("elsewhere")
"""


def test_rank_0_alone_writes(fork: Fork, tmp_path: Path, trainer: Trainer) -> None:
    """Another process, in a folder of its own, reads the same table and leaves nothing there."""
    assert trainer("sample", "--rows", "300", "--out", "mine.csv").returncode == 0
    with (tmp_path / "mine.csv").open("a") as stream:
        stream.write("n/a,2,no\n")
    table = ("--data", str(tmp_path / "mine.csv"), "--label", "popular", "--bad-rows", "reject")
    done = end_all(fork("fit", *table, "--epochs", "2", on_rank_1=SECOND_FOLDER))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "artifacts" / "run" / "run.json").exists()
    assert (tmp_path / "artifacts" / "run.rejects.csv").read_text().splitlines() == [
        "record,line,column,value,reason,text",
        '301,302,price,n/a,not a number,"n/a,2,no"',
    ]
    assert list((tmp_path / "elsewhere").iterdir()) == []


FAULTY = """
from trainer.distributed.shard import ShardedEngine
make_steps = ShardedEngine.run
def make_wrong_steps(self, *arguments, **options):
    make_steps(self, *arguments, **options)
    self._state.values[0] += 1e-6
ShardedEngine.run = make_wrong_steps
"""


def test_different_weights_are_an_error(fork: Fork, tmp_path: Path) -> None:
    """The message names a process whose weights differ by one bit; there is no run."""
    done = end_all(fork("fit", on_rank_1=FAULTY))
    assert done.stderr.count("rank 1 and rank 0 have different weights") == 1, done.stderr
    assert done.returncode == 6
    assert not (tmp_path / "artifacts" / "run").exists()


ANOTHER_FILE = "import sys; sys.argv += ['--data', 'none.csv', '--label', 'x']"
BUG = """
from trainer.distributed.shard import ShardedEngine
def run(*arguments, **options):
    raise ValueError("no such step")
ShardedEngine.run = run
"""


@pytest.mark.parametrize(
    ("change", "message", "code"),
    [
        pytest.param(ANOTHER_FILE, "none.csv", 3, id="file"),
        pytest.param(
            "import sys; sys.argv += ['--seed', '7']", "have read different rows", 3, id="rows"
        ),
        pytest.param(
            "import sys; sys.argv += ['--epochs', '7']", "differ in epochs", 2, id="options"
        ),
        pytest.param(BUG, "ValueError: no such step", 6, id="bug"),
    ],
)
def test_a_process_that_fails_alone_ends_all(
    fork: Fork, tmp_path: Path, change: str, message: str, code: int
) -> None:
    """One message, with the reason; the documented exit code; there is no run."""
    first, second = (process.wait(SECONDS) for process in fork("fit", on_rank_1=change))
    assert first.returncode == code, first.stderr
    assert second.returncode != 0
    assert (second.stdout, second.stderr) == ("", "")
    assert first.stderr.count("trainer: error:") == 1, first.stderr
    assert first.stderr.count(message) == 1, first.stderr
    assert not (tmp_path / "artifacts" / "run").exists()


ON_RANK_1 = f"""
import os
if os.environ["RANK"] == "1":
    {ANOTHER_FILE}
from trainer.cli import main
main()
"""


def test_torchrun_reports_a_process_that_fails_alone_once(start: Start, tmp_path: Path) -> None:
    """It ends all processes, though not before rank 0 has printed the reason."""
    done = end(start("fit", program=ON_RANK_1))
    assert done.returncode != 0
    assert done.stderr.count("trainer: error:") == 1, done.stderr
    assert done.stderr.count("none.csv") == 1, done.stderr
    assert re.search(r"rank      : 0 .*\n  exitcode  : 3 ", done.stderr), done.stderr
    assert not (tmp_path / "artifacts" / "run").exists()


def test_a_signal_to_one_process_stops_all(fork: Fork, tmp_path: Path) -> None:
    """At the same step: rank 0 writes a checkpoint and prints the command to resume."""
    pair = fork("fit", *LONG, "--out", "run")
    wait_for_checkpoint(tmp_path / "run", pair[0])
    os.kill(pair[1].pid, signal.SIGTERM)
    done = end_all(pair)
    assert done.returncode == 128 + signal.SIGTERM
    advice = "resume with: torchrun --nproc-per-node 2 -m trainer fit --epochs"
    assert done.stderr.count(advice) == 1, done.stderr
