"""Backends: every way of running a bundle's model, behind one call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch

from exporter.formats.deployed import Deployed
from exporter.formats.graphs import onnx_graph, program_graph, torchscript_graph
from exporter.formats.program import load_program
from exporter.formats.torchscript import load_torchscript
from exporter.reference.preprocessing import NO_PREPROCESSING
from runtime.bundle.manifest import ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL
from runtime.errors import UsageError
from runtime.session import Outputs, Session, available_providers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.formats.graphs import Graph
    from exporter.formats.model_files import ModelFiles
    from exporter.reference.layers import Layer
    from exporter.reference.preprocessing import Preprocessing
    from runtime.io.paths import Location
    from runtime.schema.features import Float32Matrix
    from runtime.session import OptimizationLevel, Provider

    Run = Callable[[Float32Matrix], Outputs]  # from (rows, n_features) float32

_LEVELS: tuple[OptimizationLevel, ...] = ("all", "extended", "basic", "disabled")
_THREADS = (1, 2)
_LARGE = 2**14  # rows of a batch whose memory is not kept


@dataclass(frozen=True)
class Backend:
    """One way of running the model."""

    name: str
    run: Run
    keeps_specials: bool = True  # whether NaN and infinities must match the reference
    kind: str = ""  # shared by backends that differ in configuration alone; the name by default
    graph: Callable[[], Graph] | None = None  # inspects the graph of its file, if it has one

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", self.kind or self.name)


@dataclass(frozen=True)
class SessionConfig:
    """A configuration of onnxruntime."""

    provider: Provider
    level: OptimizationLevel
    threads: int

    @property
    def name(self) -> str:
        """Name of the backend, such as ``onnx-cpu-all-1``."""
        return f"onnx-{self.provider}-{self.level}-{self.threads}"

    def open(self, content: bytes, *, where: str) -> Session:
        """Open a model in this configuration; raises as ``Session`` does."""
        return Session(
            content, provider=self.provider, threads=self.threads, level=self.level, where=where
        )


def session_configs() -> list[SessionConfig]:
    """Return every optimisation level with one and two threads, for every provider present."""
    return [
        SessionConfig(provider, level, threads)
        for provider, level, threads in product(available_providers(), _LEVELS, _THREADS)
    ]


def all_backends(
    files: ModelFiles,
    model: torch.nn.Module | None,
    layers: Sequence[Layer],
    preprocessing: Preprocessing = NO_PREPROCESSING,
    *,
    where: Location,
) -> list[Backend]:
    """Make every backend of this machine.

    PyTorch eager runs where there is a ``model``, which returns logits; numpy where there are
    ``layers``. ``where`` is the bundle's folder, for messages. Raises ``ArtifactError`` for a
    damaged file, ``UnavailableError`` where a provider does not work.
    """
    onnx_where = str(where / ONNX_MODEL)
    return [
        *([eager_backend(model)] if model else []),
        torchscript_backend(files.torchscript, where=str(where / TORCHSCRIPT_MODEL)),
        program_backend(files.program, where=str(where / PROGRAM_MODEL)),
        *([numpy_backend(layers, preprocessing)] if layers else []),
        *(onnx_backend(files.onnx, config, where=onnx_where) for config in session_configs()),
    ]


def select_backends(backends: Sequence[Backend], name: str | None) -> Sequence[Backend]:
    """Select the backend of a name, or all of them; ``UsageError`` for an unknown name."""
    names = [backend.name for backend in backends]
    if name is not None and name not in names:
        raise UsageError(f"unknown backend {name!r}; available: {', '.join(names)}")
    return [backend for backend in backends if name in {None, backend.name}]


def eager_backend(model: torch.nn.Module) -> Backend:
    """Run PyTorch itself, operation by operation; ``model`` returns logits."""
    return Backend("eager", _run_module(Deployed(model).eval()))


def torchscript_backend(content: bytes, *, where: str) -> Backend:
    """Run the TorchScript file."""
    module = load_torchscript(content, where=where)
    graph = partial(torchscript_graph, module)
    return Backend("torchscript", _run_module(module), graph=graph)


def program_backend(content: bytes, *, where: str) -> Backend:
    """Run the exported program."""
    module = load_program(content, where=where).module()
    return Backend("program", _run_module(module), graph=partial(program_graph, module))


def numpy_backend(
    layers: Sequence[Layer], preprocessing: Preprocessing = NO_PREPROCESSING
) -> Backend:
    """Run the weights alone in numpy, without graph or engine."""
    run = run_numpy(layers)
    return Backend("numpy", lambda rows: run(preprocessing.transform(rows)))


def onnx_backend(content: bytes, config: SessionConfig, *, where: str) -> Backend:
    """Run the ONNX file through the session that serves it.

    CUDA's Relu turns NaN into a number (onnxruntime issue 11010), so rows without a finite output
    are not checked on that provider; the runtime refuses such inputs before the model.
    """
    session = config.open(content, where=where)
    return Backend(
        config.name,
        # Every setting's session would keep what the largest batch needed.
        lambda rows: session.run(rows, shrink=len(rows) >= _LARGE),
        keeps_specials=config.provider != "cuda",
        kind=f"onnx-{config.provider}",
        graph=partial(onnx_graph, content, config.open),
    )


def run_numpy(layers: Sequence[Layer]) -> Run:
    """Make a function that runs Linear layers, ReLU between them, in numpy's float32."""

    def run(features: Float32Matrix) -> Outputs:
        values = features  # (rows, width)
        with np.errstate(all="ignore"):  # overflow and NaN are outputs too
            for position, layer in enumerate(layers):
                if position:
                    np.maximum(values, 0, out=values)
                values = values @ layer.weight.T  # (rows, outputs)
                values += layer.bias
            return Outputs(values.argmax(axis=1).astype(np.int64), _softmax(values), values)

    return run


def _softmax(logits: Float32Matrix) -> Float32Matrix:
    terms: Float32Matrix = np.exp(logits - logits.max(axis=1, keepdims=True))  # (rows, classes)
    total: Float32Matrix = terms.sum(axis=1, keepdims=True)  # (rows, 1)
    return terms / total


def _run_module(module: torch.nn.Module) -> Run:
    def run(features: Float32Matrix) -> Outputs:
        # A copy: a model that changes its input would change the rows of the next backend.
        with torch.inference_mode():
            label, probabilities, logits = module(torch.from_numpy(features).clone())
        return Outputs(label.numpy(), probabilities.numpy(), logits.numpy())

    return run
