"""What a module returns is known or asked for, and becomes logits with the same probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import logsigmoid

from exporter.bundling import check_candidate, export_model
from exporter.parity.report import Report
from exporter.parity.rows import Plan
from exporter.parity.sampling import ranges_of, sample_inside
from exporter.source.candidate import candidate_from_module
from exporter.verify import verify_bundle
from runtime.bundle.manifest import PARITY
from runtime.errors import OnnxferryError, SchemaError, UsageError
from runtime.predictor import Predictor
from runtime.schema.features import Feature, Schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.source.outputs import Output

TWO = Schema("kind", tuple(Feature(name, 0.0, 4.0) for name in "abc"), ("no", "yes"))
THREE = msgspec.structs.replace(TWO, classes=("x", "y", "z"))
QUICK = Plan(uniform=2048, boundary=128, small=32, medium=512)


class Net(nn.Module):
    """Scores of some classes, and what a function makes of them."""

    def __init__(self, classes: int, change: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, classes)
        self.change = change
        self.eval()

    def scores(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(torch.relu(self.first(features))) * 3
        return scores

    def forward(self, features: torch.Tensor) -> object:
        return self.change(self.scores(features))


class Named(NamedTuple):
    hidden: torch.Tensor
    logits: torch.Tensor


@dataclass
class ModelOutput:
    loss: torch.Tensor | None
    logits: torch.Tensor


def pair(probability: torch.Tensor) -> torch.Tensor:
    return torch.cat([1 - probability, probability], dim=1)


def softmax(scores: torch.Tensor) -> torch.Tensor:
    return scores.softmax(1)


def of_logit(scores: torch.Tensor) -> torch.Tensor:
    return pair(scores.sigmoid())


@dataclass(frozen=True)
class Case:
    classes: int
    change: Callable[[torch.Tensor], object]
    probabilities: Callable[[torch.Tensor], torch.Tensor]  # of the scores
    description: str | None
    output: Output | None = None
    name: str | None = None


LOGARITHMS = "probabilities: logits are their logarithms"
CASES = {
    "scores": Case(3, lambda z: z, softmax, None),
    "softmax": Case(3, softmax, softmax, LOGARITHMS),
    "softmax over the last axis": Case(
        3, lambda z: z[:, None].softmax(-1).squeeze(1), softmax, LOGARITHMS
    ),
    "log-softmax": Case(
        3, lambda z: z.log_softmax(1), softmax, "log-probabilities, taken as logits"
    ),
    "logarithms of a sigmoid and its complement": Case(
        1,
        lambda z: torch.cat([logsigmoid(-z), logsigmoid(z)], 1),
        of_logit,
        "log-probabilities, taken as logits; logsigmoid(x) written as -softplus(-x)",
    ),
    "log-softmax of no known form": Case(
        3, lambda z: z - z.logsumexp(1, keepdim=True), softmax, "log-probabilities, taken as logits"
    ),
    "negative log-softmax, as logits": Case(
        3, lambda z: -z.log_softmax(1), lambda z: (-z).softmax(1), None, output="logits"
    ),
    "exponential of log-softmax": Case(3, lambda z: z.log_softmax(1).exp(), softmax, LOGARITHMS),
    "mean of two softmax": Case(
        3,
        lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2,
        lambda z: (z.softmax(1) + (2 * z).softmax(1)) / 2,
        LOGARITHMS,
    ),
    "normalised sigmoids": Case(
        3,
        lambda z: z.sigmoid() / z.sigmoid().sum(1, keepdim=True),
        lambda z: z.sigmoid() / z.sigmoid().sum(1, keepdim=True),
        LOGARITHMS,
    ),
    "a column of logits": Case(1, lambda z: z, of_logit, "one logit a row, of the second class"),
    "logits": Case(1, lambda z: z[:, 0], of_logit, "one logit a row, of the second class"),
    "sigmoid": Case(
        1,
        lambda z: z.squeeze(1).sigmoid(),
        of_logit,
        "one probability a row, of the second class: its logit is taken",
    ),
    "a sigmoid and its complement": Case(
        1,
        lambda z: pair(z.sigmoid()).flip(1),
        lambda z: of_logit(z).flip(1),
        "probabilities of two classes from one sigmoid: its logit is taken",
    ),
    "a hard sigmoid": Case(
        1,
        nn.functional.hardsigmoid,
        lambda z: pair(nn.functional.hardsigmoid(z)),
        "one probability a row, of the second class: logits are logarithms",
        output="probability",
    ),
    "a hard sigmoid as a logit": Case(
        1,
        nn.functional.hardsigmoid,
        lambda z: of_logit(nn.functional.hardsigmoid(z)),
        "one logit a row, of the second class, as given",
        output="logit",
    ),
    "a sigmoid for each class, as logits": Case(
        3,
        torch.sigmoid,
        lambda z: z.sigmoid().softmax(1),
        "taken as logits, as requested",
        output="logits",
    ),
    "probabilities of another kind": Case(
        3,
        lambda z: z.abs() / z.abs().sum(1, keepdim=True),
        lambda z: z.abs() / z.abs().sum(1, keepdim=True),
        LOGARITHMS,
        output="probabilities",
    ),
    "a dict": Case(3, lambda z: {"hidden": -z, "logits": z}, softmax, "'logits', one of 2"),
    "a dict of one": Case(3, lambda z: {"scores": z}, softmax, "its output 'scores'"),
    "a named one": Case(3, lambda z: {"a": -z, "b": z}, softmax, "'b', one of 2", name="b"),
    "a tuple": Case(3, lambda z: (z, -z), softmax, "its output 0, one of 2"),
    "a tuple without loss": Case(
        3, lambda z: (None, softmax(z)), softmax, f"its output 1; {LOGARITHMS}"
    ),
    "a named tuple": Case(3, lambda z: Named(-z, z), softmax, "its output 'logits', one of 2"),
    "a dataclass": Case(3, lambda z: ModelOutput(None, z), softmax, "its output 'logits'"),
}


@pytest.mark.parametrize("change", [torch.squeeze, lambda z: z.squeeze().sigmoid()])
def test_squeeze_of_a_single_row_leaves_a_row(change: Callable[[torch.Tensor], object]) -> None:
    """``squeeze()`` takes away the dimension of the rows too where there is one row."""
    candidate = candidate_from_module(Net(1, change), TWO, name="mine")
    rows = torch.from_numpy(sample_inside(ranges_of(TWO))[:3])
    with torch.inference_mode():
        alone = torch.cat([candidate.model(row[None]) for row in rows])
        torch.testing.assert_close(alone, candidate.model(rows))


@pytest.mark.parametrize("what", CASES)
def test_probabilities_are_those_of_the_module(what: str) -> None:
    """Whatever its form, the softmax of the logits is what the module means, and it is said."""
    case = CASES[what]
    schema = TWO if case.classes == 1 else THREE
    model = Net(case.classes, case.change)
    candidate = candidate_from_module(
        model, schema, name="mine", output=case.output, output_name=case.name
    )
    rows = torch.from_numpy(sample_inside(ranges_of(schema))[:500])
    with torch.inference_mode():
        logits = candidate.model(rows)
        expected = case.probabilities(model.scores(rows))
    assert logits.shape == (500, schema.n_classes)
    np.testing.assert_allclose(logits.softmax(1), expected, atol=3e-7)
    if case.description is None:
        assert candidate.output is None
    else:
        assert case.description in (candidate.output or "")


ASKED: dict[str, tuple[nn.Module, type[OnnxferryError], str, dict[str, str]]] = {
    "probabilities of an unknown kind": (
        Net(3, lambda z: z.abs() / z.abs().sum(1, keepdim=True)),
        UsageError,
        r"look like probabilities .* output, probabilities or logits",
        {},
    ),
    "negative log-probabilities": (
        Net(3, lambda z: -z.log_softmax(1)),
        UsageError,
        r"negative log-probabilities .* least probable class: return them without the minus sign",
        {},
    ),
    "another output first": (
        Net(3, lambda z: (z[:, :2], z)),
        SchemaError,
        r"returns as its output 0 torch.float32 of shape \(4, 2\);.*; it also returns 1, see",
        {},
    ),
    "numbers from 0 to 1": (
        Net(1, nn.functional.hardsigmoid),
        UsageError,
        r"numbers from 0 to 1, but .* sigmoid: .*, logit or probability",
        {},
    ),
    "a sigmoid for each class": (
        Net(3, torch.sigmoid),
        UsageError,
        r"ends in a sigmoid for each class, but its rows do not sum to 1",
        {},
    ),
    "scores said to be probabilities": (
        Net(3, lambda z: z),
        UsageError,
        r"are no probabilities: a row inside the ranges has \[",
        {"output": "probabilities"},
    ),
    "columns said to be one logit": (
        Net(3, lambda z: z),
        UsageError,
        "a column for each class: output is logits or probabilities",
        {"output": "logit"},
    ),
    "one number said to be logits": (
        Net(1, lambda z: z),
        UsageError,
        "one number a row: output is logit or probability",
        {"output": "logits"},
    ),
    "a word that is none": (Net(3, softmax), UsageError, "must be one of", {"output": "softmax"}),
    "several outputs": (
        Net(3, lambda z: {"a": z, "b": z}),
        UsageError,
        r"returns a, b; name the class scores with output_name",
        {},
    ),
    "a name that is none": (
        Net(3, lambda z: {"a": z}),
        UsageError,
        "no output 'b'; it returns a",
        {"output_name": "b"},
    ),
    "a name for one tensor": (
        Net(3, lambda z: z),
        UsageError,
        "returns one tensor, so there is no output 'b'",
        {"output_name": "b"},
    ),
    "no tensors": (Net(3, lambda _: "x"), UsageError, "returns a str without tensors", {}),
    "classes": (Net(3, lambda z: z.argmax(1)), SchemaError, r"before argmax", {}),
    "one number for three classes": (
        Net(3, lambda z: z[:, 0]),
        SchemaError,
        r"shape \(4,\); the schema has 3 classes",
        {},
    ),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_cannot_be_known_is_asked_for(what: str) -> None:
    """One message says what the outputs are and which option to give; nothing is guessed."""
    model, error, reason, options = ASKED[what]
    schema = TWO if getattr(model, "last").out_features == 1 else THREE  # noqa: B009
    with pytest.raises(error, match=reason):
        candidate_from_module(model, schema, name="mine", **options)  # type: ignore[arg-type]


LOGARITHMS_OF = {
    "logsigmoid": lambda z: torch.cat([logsigmoid(-99 * z), logsigmoid(99 * z)], 1),
    "log of sigmoid": lambda z: torch.cat(
        [torch.log(1 - (99 * z).sigmoid()), (99 * z).sigmoid().log()], 1
    ),
    "log of softmax": lambda z: torch.cat([z, -99 * z], 1).softmax(-1).log(),
}


@pytest.mark.parametrize("what", LOGARITHMS_OF)
def test_logarithms_of_probabilities_stay_finite(what: str) -> None:
    """float32 has infinities where an argument is below -104, ONNX of logsigmoid too."""
    candidate = candidate_from_module(Net(1, LOGARITHMS_OF[what]), TWO, name="mine")
    assert "which stays finite" in (candidate.output or "")
    report = check_candidate(candidate, QUICK.only("onnx-cpu-all-1", 32, None))
    assert report.passed
    rows = torch.from_numpy(sample_inside(ranges_of(TWO))[:500])
    assert torch.isfinite(candidate.model(rows)).all()


@pytest.mark.slow
def test_a_bundle_says_what_was_taken(tmp_path: Path) -> None:
    """The proof names it, a repeated proof too, and the served probabilities are the module's."""
    model = Net(3, softmax)
    exported = export_model(model, THREE, tmp_path / "bundle", plan=QUICK)
    assert msgspec.json.decode((exported.path / PARITY).read_bytes(), type=Report).output
    assert verify_bundle(exported.path, plan=QUICK).output == LOGARITHMS
    rows = sample_inside(ranges_of(THREE))[:100]
    with torch.inference_mode():
        expected = model(torch.from_numpy(rows))
    found = Predictor(exported.path).run(rows)
    np.testing.assert_allclose(found.probabilities, expected, atol=3e-7)
