"""Engines: implementations of the same steps of gradient descent.

state        the protocol of an engine, and the parameters and buffers that steps change
step         a step in ATen calls, on preallocated buffers
member_step  the same of an ensemble's members
deployment   the network of raw features that a state is deployed as
torchscript  runs it on the CPU, in the TorchScript interpreter
cuda_graph   captures it as CUDA graphs; prefetch brings the rows to the device
eager        autograd and torch.optim: the reference for tests and benchmarks
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from trainer.engines.state import Engine, ModelState, TrainingTask
    from trainer.model import Standardisation


EngineName = Literal["fast", "eager"]


def create_engine(
    name: EngineName,
    task: TrainingTask,
    state: ModelState,
    rows: tuple[torch.Tensor, torch.Tensor],
    scale: Standardisation | None,
    *,
    streams: bool = False,
) -> Engine:
    """Create the engine for the state's device.

    ``rows`` are raw features ``(rows, n_features)`` float32 and labels ``(rows,)`` on the CPU;
    with ``streams`` they stay there and are sent to the device chunk by chunk.
    """
    from trainer.engines.prefetch import Gather

    features, labels = rows
    if name == "eager":
        from trainer.engines.eager import EagerEngine

        return EagerEngine(task, state, Gather(features, labels, scale, len(labels)))
    if state.values.is_cuda:
        from trainer.engines.cuda_graph import CudaGraphEngine

        return CudaGraphEngine(task, state, rows, scale, streams=streams)
    from trainer.engines.torchscript import TorchScriptEngine

    return TorchScriptEngine(task, state, Gather(features, labels, scale, task.rows_per_call))
