"""Models that float32 resolves only in part are proven; a wrong export of them is still found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from exporter.bundling import check_candidate, convert_candidate
from exporter.parity.rows import Plan
from exporter.parity.sampling import ranges_of, sample_inside
from exporter.source.candidate import candidate_from_module
from runtime.errors import ParityError, UsageError
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable

    Forward = Callable[["Net", torch.Tensor], torch.Tensor]

SCHEMA = Schema("kind", tuple(Feature(name, 0.0, 4.0) for name in "abc"), ("no", "yes"))
PLAN = Plan(uniform=4096, boundary=1024, batches=(1024,), medium=4096)


class Net(nn.Module):
    """Two layers, an embedding, and a function of them; its classes are balanced."""

    def __init__(self, change: Forward) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.a, self.b, self.e = nn.Linear(3, 8), nn.Linear(8, 2), nn.Embedding(5, 2)
        self.change = change
        self.eval()

    def scores(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.b(torch.relu(self.a(x)))
        return scores

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.change(self, x)
        return scores

    def balanced(self) -> Net:
        rows = torch.from_numpy(sample_inside(ranges_of(SCHEMA))[256:])
        with torch.no_grad():
            scores = self(rows)
            self.b.bias[1] -= (scores[:, 1] - scores[:, 0]).median()
        return self


def largest(net: Net, x: torch.Tensor, kept: int) -> torch.Tensor:
    hidden = torch.relu(net.a(x))
    values, index = hidden.topk(kept, 1)
    scores: torch.Tensor = net.b(torch.zeros_like(hidden).scatter(1, index, values))
    return scores


def looked_up(net: Net, x: torch.Tensor, most: int) -> torch.Tensor:
    found: torch.Tensor = net.e(x[:, 2].clamp(0, most).long())
    return net.scores(x) + found


# The model, and one that is off by a little.
MODELS: dict[str, tuple[Forward, Forward]] = {
    "log-softmax": (
        lambda net, x: net.scores(x).log_softmax(1),
        lambda net, x: (net.scores(x) * 1.0005).log_softmax(1),
    ),
    "topk": (lambda net, x: largest(net, x, 3), lambda net, x: largest(net, x, 4)),
    "argmax": (
        lambda net, x: net.scores(x) + net.e(net.a(x).argmax(1) // 2),
        lambda net, x: net.scores(x) + net.e(net.a(x).argmin(1) // 2),
    ),
    "round": (
        lambda net, x: net.b(torch.round(net.a(x) * 4) / 4),
        lambda net, x: net.b(torch.floor(net.a(x) * 4) / 4),
    ),
    "floor": (
        lambda net, x: net.scores(torch.floor(x * 3.3)),
        lambda net, x: net.scores(torch.floor(x * 3.31)),
    ),
    "a comparison": (
        lambda net, x: net.scores(x) + (net.a(x)[:, :2] > 0.1).to(x.dtype),
        lambda net, x: net.scores(x) + (net.a(x)[:, :2] > 0.11).to(x.dtype),
    ),
    "large numbers that cancel": (
        lambda net, x: (net.scores(x) + x.sum(1, keepdim=True)) - x.sum(1, keepdim=True),
        lambda net, x: (net.scores(x) + x.sum(1, keepdim=True)) - x.sum(1, keepdim=True) * 1.001,
    ),
    "an embedding of a clamped code": (
        lambda net, x: looked_up(net, x, 4),
        lambda net, x: looked_up(net, x, 3),
    ),
    "casts": (
        lambda net, x: net.scores(x.float()).tanh().to(torch.float32),
        lambda net, x: net.scores(x.half().float()).tanh(),
    ),
    "a cast to float64": (
        lambda net, x: net.scores(x).double().tanh().float(),
        lambda net, x: net.scores(x).bfloat16().float().tanh(),
    ),
}


@pytest.mark.parametrize("what", MODELS)
@pytest.mark.slow
def test_right_exports_pass_and_wrong_ones_do_not(what: str) -> None:
    """Rows that float32 cannot resolve are counted as undecidable; a fault leaves every spread."""
    right, wrong = MODELS[what]
    model = Net(right).balanced()
    candidate = candidate_from_module(model, SCHEMA, name="mine")
    assert candidate.reference.tolerance == "measured"
    files = convert_candidate(candidate)
    plan = replace(PLAN, backend="onnx-cpu-all-1")
    report = check_candidate(candidate, plan, convert=lambda _: files)
    assert report
    assert report.undecidable <= 0.01 * report.rows
    model.change = wrong
    fault = convert_candidate(replace(candidate, model=model))
    with pytest.raises(ParityError, match=r"first in onnx-cpu-all-1 at batch 1024"):
        check_candidate(candidate, plan, convert=lambda _: replace(files, onnx=fault.onnx))


def test_rows_on_a_jump_are_undecidable() -> None:
    """Neighbours on both sides of a rounded half are open, and nothing else is."""
    model = Net(lambda _, x: torch.cat([x[:, :1] * 0, torch.round(x[:, :1] * 1.7) - 2.5], 1))
    candidate = candidate_from_module(model, SCHEMA, name="mine")
    report = check_candidate(candidate, PLAN)
    assert report
    assert report.undecidable == 0


def test_a_row_that_cannot_be_computed_is_named() -> None:
    """A lookup that is not clamped fails outside the ranges; the message has such a row."""
    model = Net(lambda net, x: net.scores(x) + net.e(x[:, 2].long()))
    candidate = candidate_from_module(model, SCHEMA, name="mine")
    with pytest.raises(UsageError, match=r"some rows, such as \[-?\d.*\]: index out of range"):
        check_candidate(candidate, PLAN)
