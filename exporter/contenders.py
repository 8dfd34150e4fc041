"""The contenders: every way a bundle's model is run, behind one call.

In: a model or the content of a file. Out: a ``Contender``. Files that cannot be loaded are an
``ArtifactError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from exporter.deployed import Deployed
from exporter.program import load_program
from exporter.torchscript import load_torchscript
from runtime.session import Outputs, Session, present_providers

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.schema import Float32Matrix
    from runtime.session import Provider
    from trainer.model import SimpleNet


@dataclass(frozen=True)
class Contender:
    """One way of running the model.

    Attributes:
        name: for reports.
        answer: from features ``(rows, n_features)`` float32 to the outputs.
        keeps_specials: whether NaN and infinities must come out where the oracle has them.
    """

    name: str
    answer: Callable[[Float32Matrix], Outputs]
    keeps_specials: bool = True


def eager(model: SimpleNet) -> Contender:
    """PyTorch itself, operation by operation."""
    return Contender("eager", _torch_answer(Deployed(model).eval()))


def torchscript(content: bytes, *, where: str) -> Contender:
    """The TorchScript file, loaded as anyone would.

    Args:
        content: of the file.
        where: path for messages.

    Returns:
        The contender ``torchscript``.

    Raises:
        ArtifactError: when torch cannot load it.
    """
    return Contender("torchscript", _torch_answer(load_torchscript(content, where=where)))


def program(content: bytes, *, where: str) -> Contender:
    """The exported program, loaded as anyone would.

    Args:
        content: of the file.
        where: path for messages.

    Returns:
        The contender ``program``.

    Raises:
        ArtifactError: when torch cannot load it.
    """
    return Contender("program", _torch_answer(load_program(content, where=where)))


def onnx(content: bytes, provider: Provider, *, where: str) -> Contender:
    """The ONNX file through the session that serves it.

    CUDA's Relu turns NaN into a number (onnxruntime issue 11010), so nothing is asked of that
    provider on rows without a finite answer; the runtime refuses such inputs before the model.

    Args:
        content: of the file.
        provider: to run it on.
        where: path for messages.

    Returns:
        The contender ``onnx-cpu`` or ``onnx-cuda``.

    Raises:
        ArtifactError: when onnxruntime cannot load it.
        UnavailableError: when the provider does not really run.
    """
    session = Session(content, provider=provider, where=where)
    return Contender(f"onnx-{provider}", session.run, keeps_specials=provider != "cuda")


def onnx_everywhere(content: bytes, *, where: str) -> list[Contender]:
    """The ONNX file on each provider of this machine; raises as ``onnx`` does."""
    return [onnx(content, provider, where=where) for provider in present_providers()]


def _torch_answer(module: torch.nn.Module) -> Callable[[Float32Matrix], Outputs]:
    def answer(features: Float32Matrix) -> Outputs:
        with torch.inference_mode():
            label, probabilities, logits = module(torch.from_numpy(features))
        return Outputs(label.numpy(), probabilities.numpy(), logits.numpy())

    return answer
