"""Which engine makes the steps of a fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trainer.engines.gather import Gather
from trainer.ranks.team import find_leader

if TYPE_CHECKING:
    import torch

    from trainer.engines.state import State
    from trainer.engines.task import Engine, Task
    from trainer.standardise import Standardisation

EngineName = Literal["fast", "eager"]


def open_engine(
    name: EngineName,
    task: Task,
    state: State,
    rows: tuple[torch.Tensor, torch.Tensor],
    scale: Standardisation | None,
    *,
    streams: bool = False,
) -> Engine:
    """Open an engine on the state's device.

    Args:
        name: fast is the written-out step, on CUDA in graphs; eager is autograd. Of several
            processes all make their part of each step, whatever is asked for.
        task: what stays the same in all steps.
        state: is changed in place.
        rows: features ``(rows, n_features)`` float32, raw, and labels ``(rows,)``, on the CPU.
        scale: what standardises a row; None leaves rows raw.
        streams: whether rows are too many for the device, which then gets them bit by bit.

    Returns:
        An engine that has made no step.

    Raises:
        UnavailableError: when another process cannot take part.
    """
    if leader := find_leader():
        return leader.open_engine(task, state, rows, scale)
    features, labels = rows
    if name == "eager":
        from trainer.engines.eager import Eager

        return Eager(task, state, Gather(features, labels, scale, len(labels)))
    if state.values.is_cuda:
        from trainer.engines.graph import Graph

        return Graph(task, state, rows, scale, streams=streams)
    from trainer.engines.written import Written

    return Written(task, state, Gather(features, labels, scale, task.rows_at_once))
