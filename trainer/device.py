"""Where a fit runs, and what makes it repeat to the bit there.

In: the device asked for. Out: the device that is used, or an ``UnavailableError``.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from runtime.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.config import DeviceChoice, DeviceName


@dataclass(frozen=True)
class Device:
    """A device that is there.

    Attributes:
        name: what torch and the run's record call it.
        reason: why it is this one, for people.
    """

    name: DeviceName
    reason: str

    def adding(self, more: str) -> Device:
        """Say one more thing of it, where there is one."""
        return Device(self.name, f"{self.reason}; {more}") if more else self


def choose_device(choice: DeviceChoice = "auto") -> Device:
    """Settle on a device; nothing falls back silently.

    Args:
        choice: ``cuda`` and ``cpu`` mean just that; ``auto`` takes CUDA where it is present.

    Returns:
        The device.

    Raises:
        UnavailableError: when CUDA was asked for and is not there.
    """
    if choice == "cpu":
        return Device("cpu", "asked for")
    if torch.cuda.is_available():
        return Device("cuda", torch.cuda.get_device_name())
    if choice == "auto":
        return Device("cpu", "no CUDA device")
    raise UnavailableError(f"CUDA was asked for, but {_why_no_cuda()}; or use --device cpu")


@contextmanager
def reproducible(device: DeviceName) -> Iterator[None]:
    """Make the same fit give the same bits on ``device``; every setting is put back after it.

    Args:
        device: where the fit runs.

    Yields:
        Nothing.
    """
    with _one_thread() if device == "cpu" else _exact_cuda():
        yield


def _why_no_cuda() -> str:
    if torch.version.cuda is None:
        return "this torch is built without it: install torch's CUDA build (pytorch.org)"
    return "no CUDA device is visible to the NVIDIA driver (see nvidia-smi)"


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small batches are no faster on two threads, and one thread always sums in one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def _exact_cuda() -> Iterator[None]:
    """Deterministic algorithms, and float32 products that keep all their bits (no TF32)."""
    matmul = torch.backends.cuda.matmul
    precision = matmul.fp32_precision
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    try:
        # torch asks for this setting of cuBLAS before it calls its products deterministic.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        matmul.fp32_precision = "ieee"
        torch.use_deterministic_algorithms(True)  # a second: it loads torch's compiler
        yield
    finally:
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        matmul.fp32_precision = precision
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
