"""The training device: CPU or CUDA by measured crossover points, and its reproducible settings.

``crossings.json`` holds the crossover points that ``benchmarks/crossing.py`` measured.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec
import torch

from runtime.errors import UnavailableError
from runtime.surfaces import option

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.config import DeviceChoice, DeviceName

CROSSOVERS: Final = "crossings.json"


@dataclass(frozen=True)
class Device:
    """An available device.

    Attributes:
        name: as in torch and in the run's record.
        reason: why it was selected, as text.
    """

    name: DeviceName
    reason: str

    def with_note(self, note: str) -> Device:
        """Append a note to the reason, unless it is empty."""
        return Device(self.name, f"{self.reason}; {note}") if note else self


@dataclass(frozen=True)
class Workload:
    """The size of a training run.

    Attributes:
        batch_size: rows per step.
        rows: training rows.
        epochs: maximum number of epochs.
    """

    batch_size: int
    rows: int
    epochs: int


@dataclass(frozen=True)
class Crossover:
    """The sizes from which a GPU is faster than its host's CPU.

    Attributes:
        batch_size: rows per step; None where the GPU never is.
        rows: rows times epochs that pay for CUDA's start-up, at such batches.
    """

    batch_size: int | None
    rows: int


# For GPUs that were not measured: an H100 is estimated at 25 µs per step whatever the batch,
# which is the CPU's step of about a thousand rows; CUDA takes about two seconds to start, in which
# the CPU processes ten million rows of large batches.
ESTIMATED: Final = Crossover(batch_size=1024, rows=10_000_000)


def select_device(choice: DeviceChoice, workload: Workload) -> Device:
    """Select the device; a requested device never falls back silently."""
    if choice == "cpu":
        return Device("cpu", "requested")
    if torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
        if choice == "cuda":
            return Device("cuda", gpu)
        return select_by_workload(workload, crossover_for(gpu), gpu)
    if choice == "auto":
        return Device("cpu", "no CUDA device")
    raise UnavailableError(
        f"CUDA was requested, but {_why_no_cuda()}; or use " + option("device", "cpu")
    )


def select_by_workload(workload: Workload, crossover: Crossover, gpu: str) -> Device:
    """Select between an available CUDA device and the CPU, by sizes alone."""
    size = min(workload.batch_size, workload.rows)
    min_batch, total_rows = crossover.batch_size, workload.rows * workload.epochs
    if min_batch is None:
        return Device("cpu", f"faster than {gpu} for any batch size")
    if size < min_batch:
        return Device(
            "cpu", f"batches of {size:,} are faster here than on {gpu} (from about {min_batch:,})"
        )
    if total_rows < crossover.rows:
        return Device(
            "cpu",
            f"{workload.rows:,} rows in {workload.epochs:,} epochs finish before {gpu} has "
            f"started (worthwhile from about {crossover.rows:,} rows in total)",
        )
    return Device("cuda", f"{gpu}, faster for batches from about {min_batch:,}")


def crossover_for(gpu: str) -> Crossover:
    """Look up a GPU's measured crossover; ``ESTIMATED`` where there is none."""
    return read_crossovers().get(gpu, ESTIMATED)


def read_crossovers() -> dict[str, Crossover]:
    """Read the measured crossovers by the names of GPUs."""
    content = files("trainer").joinpath(CROSSOVERS).read_bytes()
    return msgspec.json.decode(content, type=dict[str, Crossover])


def find_crossover(
    sizes: Sequence[int], cpu: Sequence[float], cuda: Sequence[float], start_s: float
) -> Crossover:
    """Find the crossover in measured step times, in seconds for each of the ascending sizes."""
    slower = [at for at in range(len(sizes)) if cuda[at] >= cpu[at]]
    first = max(slower, default=-1) + 1
    if first == len(sizes):
        return Crossover(None, 0)
    saved = max((cpu[at] - cuda[at]) / sizes[at] for at in range(first, len(sizes)))  # s per row
    return Crossover(sizes[first], round(start_s / saved))


@contextmanager
def reproducible(device: DeviceName) -> Iterator[None]:
    """Make training on ``device`` repeat bit for bit; all settings are restored afterwards."""
    with _one_thread() if device == "cpu" else _deterministic_cuda():
        yield


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this torch is built without it: install torch's CUDA build (pytorch.org)"
    return "no CUDA device is visible to the NVIDIA driver (see nvidia-smi)"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread: it sums in one order, and small batches gain nothing from two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _deterministic_cuda() -> Iterator[None]:
    """Use deterministic algorithms, and float32 products without TF32."""
    matmul = torch.backends.cuda.matmul
    precision = matmul.fp32_precision
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    try:
        # torch requires this cuBLAS setting before it considers its products deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        matmul.fp32_precision = "ieee"
        torch.use_deterministic_algorithms(True)  # takes a second: it loads torch's compiler
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        matmul.fp32_precision = precision
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
