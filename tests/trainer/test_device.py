from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import torch

from runtime.errors import UnavailableError
from trainer.crossing import Work
from trainer.device import choose_device, reproducible

if TYPE_CHECKING:
    from trainer.config import DeviceName

WITHOUT_CUDA = pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is present")
DEVICES: list[DeviceName] = ["cpu", "cuda"]
LARGE = Work(batch_size=2**20, rows=2**30, epochs=10)


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
    """Raise inside ``reproducible`` and report the settings that stood there."""
    with pytest.raises(Stop) as stop, reproducible(device):
        raise Stop(settings())
    return stop.value.inside


def test_auto_takes_what_is_there_and_says_why() -> None:
    """CUDA for large work where there is one, named; else the CPU, with the reason."""
    chosen = choose_device("auto", LARGE)
    assert chosen.name == ("cuda" if torch.cuda.is_available() else "cpu")
    assert chosen.reason


def test_cpu_means_cpu() -> None:
    """A machine with CUDA fits on the CPU when told so."""
    assert choose_device("cpu", LARGE).name == "cpu"


@WITHOUT_CUDA
def test_cuda_that_is_not_there_is_an_error() -> None:
    """Nothing falls back to the CPU silently, and the message says what to do."""
    with pytest.raises(UnavailableError, match="--device cpu"):
        choose_device("cuda", LARGE)


@pytest.mark.parametrize("device", DEVICES)
def test_settings_are_put_back_after_an_error(device: DeviceName) -> None:
    """Torch's global settings and the environment are the caller's."""
    before = settings()
    assert fail_inside(device) != before
    assert settings() == before


def test_a_cuda_fit_is_deterministic_and_keeps_all_bits() -> None:
    """The flags for that hold inside; setting them needs no device."""
    inside = fail_inside("cuda")
    assert inside["deterministic"] is True
    assert inside["warn_only"] is False
    assert inside["precision"] == "ieee"
    assert inside["cublas"] == ":4096:8"


def test_a_callers_own_cublas_setting_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has set a workspace that is deterministic too keeps it."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    assert fail_inside("cuda")["cublas"] == ":16:8"
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
