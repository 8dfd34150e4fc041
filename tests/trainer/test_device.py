from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from runtime.errors import UnavailableError
from trainer.device import Workload, reproducible, select_device

if TYPE_CHECKING:
    from trainer.config import DeviceName

WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
DEVICES: list[DeviceName] = ["cpu", "cuda"]
LARGE = Workload(batch_size=2**20, rows=2**30, epochs=10)


class Stop(Exception):  # noqa: N818 - it stops a block, nothing is wrong
    def __init__(self, inside: dict[str, object]) -> None:
        super().__init__()
        self.inside = inside


def settings() -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "precision": torch.backends.cuda.matmul.fp32_precision,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def fail_inside(device: DeviceName) -> dict[str, object]:
    """Raise inside ``reproducible`` and return the settings there."""
    with pytest.raises(Stop) as stop, reproducible(device):
        raise Stop(settings())
    return stop.value.inside


def test_auto_selects_an_available_device_with_a_reason() -> None:
    """CUDA for a large workload where available; else the CPU."""
    chosen = select_device("auto", LARGE)
    assert chosen.name == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen.reason


def test_cpu_means_cpu() -> None:
    """Also on a machine with CUDA."""
    assert select_device("cpu", LARGE).name == "cpu"


@WITHOUT_CUDA
def test_unavailable_cuda_is_an_error() -> None:
    """Nothing falls back to the CPU silently, and the message says what to do."""
    with pytest.raises(UnavailableError, match='device="cpu"'):
        select_device("cuda", LARGE)


@pytest.mark.parametrize("device", DEVICES)
def test_settings_are_restored_after_an_error(device: DeviceName) -> None:
    """Torch's global settings and the environment."""
    before = settings()
    assert fail_inside(device) != before
    assert settings() == before


def test_cuda_training_is_deterministic_without_tf32() -> None:
    """The flags are set inside; that needs no device."""
    inside = fail_inside("cuda")
    assert inside["deterministic"] is True
    assert inside["warn_only"] is False
    assert inside["precision"] == "ieee"
    assert inside["cublas"] == ":4096:8"


def test_a_callers_own_cublas_setting_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another deterministic workspace is not replaced."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert fail_inside("cuda")["cublas"] == ":16:8"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
