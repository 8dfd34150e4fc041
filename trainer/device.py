"""Where a fit runs, and what makes it repeat to the bit there.

In: the device asked for. Out: the device that is used, or an ``UnavailableError``.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from runtime.errors import UnavailableError
from trainer.crossing import Device, choose_by_size, crossing_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.config import DeviceChoice, DeviceName
    from trainer.crossing import Work


def choose_device(choice: DeviceChoice, work: Work) -> Device:
    """Settle on a device; nothing falls back silently.

    Args:
        choice: ``cuda`` and ``cpu`` mean just that; ``auto`` takes CUDA where it is present and
            faster for such work.
        work: of the fit.

    Returns:
        The device.

    Raises:
        UnavailableError: when CUDA was asked for and is not there.
    """
    if choice == "cpu":
        return Device("cpu", "requested")
    if torch.cuda.is_available():
        card = torch.cuda.get_device_name()
        if choice == "cuda":
            return Device("cuda", card)
        return choose_by_size(work, crossing_of(card), card)
    if choice == "auto":
        return Device("cpu", "no CUDA device")
    raise UnavailableError(f"CUDA was requested, but {_why_no_cuda()}; or use --device cpu")


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
