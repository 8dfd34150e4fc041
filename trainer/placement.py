"""Whether a table lies in the device's memory, or streams through it.

In: sizes and free memory, in bytes. Out: a ``Placement``. No errors: what does not fit streams.
Both ways give the same bits: the rows of a step are the same, and they are on the device when it
begins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from trainer.config import DeviceName
    from trainer.data import Dataset
    from trainer.run import Rows

_USABLE: Final = 0.8  # of the free memory: the rest is for libraries, buffers and graphs
_GIB: Final = 2**30


@dataclass(frozen=True)
class Placement:
    """Where the rows of a fit are.

    Attributes:
        training: whether those to learn from lie on the device for the whole fit.
        judging: whether those to judge by do.
        reason: why not, for people; empty where all of them do.
    """

    training: bool = True
    judging: bool = True
    reason: str = ""


def place_dataset(dataset: Dataset, device: DeviceName, validation: float = 0.0) -> Placement:
    """Place the rows of a fit by the memory that is free now.

    Args:
        dataset: rows on the CPU.
        device: of the fit.
        validation: share of the rows to learn from that epochs are judged by.

    Returns:
        Where they go.
    """
    if device == "cpu":
        return Placement()
    training, judging = _sizes(dataset.rows)
    return place_rows(training, judging + int(training * validation), free_memory())


def place_rows(training: int, judging: int, free: int) -> Placement:
    """Place rows: all on the device, else only those to judge by, else none.

    Args:
        training: size of the rows to learn from, bytes.
        judging: size of the rows to judge by, bytes.
        free: memory of the device that nobody uses, bytes.

    Returns:
        Where they go.
    """
    room = int(free * _USABLE)
    if training + judging <= room:
        return Placement()
    streaming = training + judging if judging > room // 2 else training
    reason = f"{_gib(streaming)} of rows stream through it, {_gib(free)} of its memory are free"
    return Placement(training=False, judging=judging <= room // 2, reason=reason)


def free_memory() -> int:
    """Ask the current CUDA device for the memory that nobody uses, bytes."""
    free, _ = torch.cuda.mem_get_info()
    return free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated()


def _sizes(rows: Rows) -> tuple[int, int]:
    """Bytes of the rows to learn from, and of those to judge by."""
    training, judging = (
        sum(part.numel() * part.element_size() for part in parts)
        for parts in (
            (rows.train_features, rows.train_labels),
            (rows.test_features, rows.test_labels),
        )
    )
    return training, judging


def _gib(size: int) -> str:
    return f"{size / _GIB:.3g} GiB"
