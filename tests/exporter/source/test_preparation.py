"""Modules as people bring them: each is copied and captured, or told in one line why not."""

from __future__ import annotations

import threading
import warnings
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from exporter.bundling import convert_candidate
from exporter.source.candidate import candidate_from_module
from runtime.errors import UsageError
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = Schema("kind", tuple(Feature(name, 0.0, 4.0) for name in "abc"), ("no", "yes"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.a, self.b = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.b(torch.relu(self.a(x)))
        return scores


class WithLock(Net):
    """Holds what ``copy.deepcopy`` refuses, also inside a list."""

    def __init__(self) -> None:
        super().__init__()
        self.lock, self.locks = threading.Lock(), [threading.RLock()]
        self.rows = (row for row in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with self.lock:
            return super().forward(x)


class WithComputedTensors(Net):
    """Keeps tensors that it computed, which torch does not copy."""

    def __init__(self) -> None:
        super().__init__()
        self.doubled = self.a.weight * 2
        self.register_buffer("same", self.b.weight * 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(x @ self.doubled.T)
        return hidden @ self.get_buffer("same").T


def old_weight_norm() -> nn.Module:
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(net.a)
    return net


def parametrised() -> nn.Module:
    net = Net()
    nn.utils.parametrizations.weight_norm(net.a)
    nn.utils.parametrizations.spectral_norm(net.b)
    return net


def lazy_with_weights() -> nn.Module:
    net = Net()
    setattr(net, "a", nn.LazyLinear(8))  # noqa: B010 - of another class, until it is called
    net.load_state_dict(Net().state_dict())
    return net


def compiled_layer() -> nn.Module:
    net = Net()
    setattr(net, "a", torch.compile(net.a, backend="eager"))  # noqa: B010 - of another class
    return net


def compiled() -> nn.Module:
    model = torch.compile(Net(), backend="eager")
    assert isinstance(model, nn.Module)
    return model


TAKEN: list[Callable[[], nn.Module]] = [
    Net,
    WithLock,
    WithComputedTensors,
    old_weight_norm,
    parametrised,
    lazy_with_weights,
    compiled_layer,
    compiled,
    lambda: nn.DataParallel(Net()),
]


@pytest.mark.filterwarnings("ignore:.*LazyLinear.*|Lazy modules are a new feature.*")
@pytest.mark.parametrize("make", TAKEN)
def test_a_module_is_taken_as_it_is(make: Callable[[], nn.Module]) -> None:
    """The candidate computes what the module computes, and converts to every format."""
    model = make().eval()
    candidate = candidate_from_module(model, SCHEMA, name="mine")
    rows = torch.rand(32, 3) * 4
    while hasattr(model, "_orig_mod") or isinstance(model, nn.DataParallel):  # not compiled here
        model = model._orig_mod if hasattr(model, "_orig_mod") else model.module  # type: ignore[assignment]  # noqa: SLF001
    if make is not compiled_layer:
        with torch.inference_mode():
            assert torch.equal(candidate.model(rows), model(rows))
    files = convert_candidate(candidate)
    assert files.onnx and files.torchscript and files.program  # noqa: PT018 - all of them


class NotCopied(Net):
    def __deepcopy__(self, _: object) -> NotCopied:
        raise RuntimeError("only one of me")


def on_meta() -> nn.Module:
    with torch.device("meta"):
        return Net()


def lazy() -> nn.Module:
    net = Net()
    setattr(net, "a", nn.LazyLinear(8))  # noqa: B010 - of another class, until it is called
    return net


def scripted_layer() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(Net(), torch.zeros(2, 3))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return nn.Sequential(traced)


REFUSED: dict[Callable[[], nn.Module], str] = {
    scripted_layer: r"layer 0 of the model is TorchScript: export the module it was made from",
    lazy: r"layer a of the model has no weights yet: load them, or call the model",
    on_meta: r"layer a of the model is on the meta device, without weights: load its weights",
    NotCopied: r"the model cannot be copied: RuntimeError: only one of me",
    lambda: Net().half(): r"torch\.float16 weights; bundles are float32: call float\(\)",
}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature.*")
@pytest.mark.parametrize("make", REFUSED)
def test_what_cannot_be_taken_is_one_line(make: Callable[[], nn.Module]) -> None:
    """Nothing of torch's copying ends in a traceback."""
    with pytest.raises(UsageError, match=REFUSED[make]) as caught:
        candidate_from_module(make().eval(), SCHEMA, name="mine")
    assert "\n" not in str(caught.value)


class Bessel(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.special.i0(x))


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(_: object, x: torch.Tensor) -> torch.Tensor:
        return x * 2


class OwnFunction(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        doubled: torch.Tensor = Doubled.apply(super().forward(x))  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return doubled


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Bessel, r"to ONNX: it has no conversion of prims\.bessel_i0\.default; replace"),
        (OwnFunction, r"to TorchScript: Could not export Python function call 'Doubled'"),
    ],
)
def test_what_cannot_be_converted_is_one_line(make: Callable[[], nn.Module], reason: str) -> None:
    """The message names the operation."""
    candidate = candidate_from_module(make().eval(), SCHEMA, name="mine")
    with pytest.raises(UsageError, match=reason) as caught:
        convert_candidate(candidate)
    assert "\n" not in str(caught.value)
