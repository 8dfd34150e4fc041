"""The contenders: every way a bundle's model is run, behind one call.

In: a model or the content of a file. Out: a ``Contender``. Files that cannot be loaded are an
``ArtifactError``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from exporter.failure.graphs import onnx_graph, program_graph, torchscript_graph
from exporter.formats.deployed import Deployed
from exporter.formats.program import load_program
from exporter.formats.torchscript import load_torchscript
from exporter.proof.reference import answer_by_numpy
from exporter.proof.settings import settings
from exporter.truth.gaps import after_filling
from runtime.bundle.manifest import ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL
from runtime.errors import UsageError
from runtime.session import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from exporter.failure.graphs import Graph
    from exporter.formats.model_files import ModelFiles
    from exporter.proof.settings import Setting
    from exporter.truth.gaps import Gaps
    from exporter.truth.layer import Layer
    from runtime.schema.features import Float32Matrix


@dataclass(frozen=True)
class Contender:
    """One way of running the model.

    Attributes:
        name: for reports.
        answer: from features ``(rows, n_features)`` float32 to the outputs.
        keeps_specials: whether NaN and infinities must come out where the oracle has them.
        kind: what contenders that differ in their settings alone have in common; its name for
            one without settings.
        graph: looks into the graph of its file; None where there is none.
    """

    name: str
    answer: Callable[[Float32Matrix], Outputs]
    keeps_specials: bool = True
    kind: str = ""
    graph: Callable[[], Graph] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or self.name)


def eager(model: torch.nn.Module) -> Contender:
    """PyTorch itself, operation by operation; ``model`` gives logits."""
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
    module = load_torchscript(content, where=where)
    graph = partial(torchscript_graph, module)
    return Contender("torchscript", _torch_answer(module), graph=graph)


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
    module = load_program(content, where=where).module()
    return Contender("program", _torch_answer(module), graph=partial(program_graph, module))


def numpy(layers: Sequence[Layer], gaps: Gaps | None = None) -> Contender:
    """Plain numpy, from the weights and what fills gaps before the first layer."""
    return Contender("numpy", after_filling(gaps, answer_by_numpy(layers)))


def onnx(content: bytes, setting: Setting, *, where: str) -> Contender:
    """The ONNX file through the session that serves it.

    CUDA's Relu turns NaN into a number (onnxruntime issue 11010), so nothing is asked of that
    provider on rows without a finite answer; the runtime refuses such inputs before the model.

    Args:
        content: of the file.
        setting: of onnxruntime.
        where: path for messages.

    Returns:
        A contender such as ``onnx-cpu-all-1``.

    Raises:
        ArtifactError: when onnxruntime cannot load it.
        UnavailableError: when the provider does not really run.
    """
    return Contender(
        setting.name,
        setting.open(content, where=where).run,
        keeps_specials=setting.provider != "cuda",
        kind=f"onnx-{setting.provider}",
        graph=partial(onnx_graph, content, setting),
    )


def onnx_everywhere(content: bytes, *, where: str) -> list[Contender]:
    """The ONNX file in every setting of this machine; raises as ``onnx`` does."""
    return [onnx(content, setting, where=where) for setting in settings()]


def every_contender(
    files: ModelFiles,
    model: torch.nn.Module | None,
    layers: Sequence[Layer],
    gaps: Gaps | None = None,
    *,
    where: Path,
) -> list[Contender]:
    """Every way of running a model here: PyTorch, its files, and numpy.

    Args:
        files: of the model.
        model: in PyTorch, giving logits; None where there are only files of it.
        layers: of the model; empty where it is no chain of Linear layers, and numpy has no say.
        gaps: that are filled before the first layer.
        where: the bundle's folder, for messages.

    Returns:
        The contenders.

    Raises:
        ArtifactError: when a file cannot be loaded.
        UnavailableError: when onnxruntime is missing or a provider does not really run.
    """
    return [
        *([eager(model)] if model else []),
        torchscript(files.torchscript, where=str(where / TORCHSCRIPT_MODEL)),
        program(files.program, where=str(where / PROGRAM_MODEL)),
        *([numpy(layers, gaps)] if layers else []),
        *onnx_everywhere(files.onnx, where=str(where / ONNX_MODEL)),
    ]


def choose(contenders: Sequence[Contender], name: str | None) -> Sequence[Contender]:
    """Take the contender of a name.

    Args:
        contenders: all of them.
        name: of the one to take; None takes all.

    Returns:
        Those to run.

    Raises:
        UsageError: when none has this name.
    """
    names = [contender.name for contender in contenders]
    if name is not None and name not in names:
        raise UsageError(f"no contender is called {name!r} here; there are {', '.join(names)}")
    return [contender for contender in contenders if name in {None, contender.name}]


def _torch_answer(module: torch.nn.Module) -> Callable[[Float32Matrix], Outputs]:
    def answer(features: Float32Matrix) -> Outputs:
        # A copy: a model that changes its input would change the rows of those who come after.
        with torch.inference_mode():
            label, probabilities, logits = module(torch.from_numpy(features).clone())
        return Outputs(label.numpy(), probabilities.numpy(), logits.numpy())

    return answer
