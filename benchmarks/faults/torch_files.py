"""Faults of ``model.torchscript.pt`` or ``model.pt2`` alone; the ONNX file is correct."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from faults.fault import Fault, Good

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.formats.model_files import ModelFiles
    from trainer.model import SimpleNet

Answers = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Faulty(nn.Module):
    """A deployed model with one thing done differently."""

    def __init__(self, good: Good, answer: Callable[[SimpleNet, torch.Tensor], Answers]) -> None:
        """Take the model; ``answer`` makes the outputs of model and features."""
        super().__init__()
        self.model = good.copy_model()
        self._answer = answer

    def forward(self, features: torch.Tensor) -> Answers:
        """From features to the contract's outputs."""
        return self._answer(self.model, features)


def _complete(logits: torch.Tensor) -> Answers:
    return logits.argmax(dim=1), torch.softmax(logits, dim=1), logits


def _last_of_equal(model: SimpleNet, features: torch.Tensor) -> Answers:
    logits = model(features)
    rounded = (logits * 2).round()  # many ties, so that they are met
    return 1 - rounded.flip(1).argmax(dim=1), torch.softmax(logits, dim=1), logits


def _narrow(model: SimpleNet, features: torch.Tensor) -> Answers:
    label, probabilities, logits = _complete(model(features))
    return label.int(), probabilities, logits


def _in_float64(model: SimpleNet, features: torch.Tensor) -> Answers:
    return _complete(model.double()(features.double()))


def _reversed(model: SimpleNet, features: torch.Tensor) -> Answers:
    label, probabilities, logits = _complete(model(features))
    return logits, probabilities, label


_TORCHSCRIPT: dict[str, Callable[[SimpleNet, torch.Tensor], Answers]] = {
    "TorchScript: dropout in training mode": lambda model, features: _complete(
        torch.dropout(model(features), 0.1, train=True)
    ),
    "TorchScript: another label than its logits say": _last_of_equal,
    "TorchScript: label int32": _narrow,
    "TorchScript: float64": _in_float64,
    "TorchScript: NaN turned into 0": lambda model, features: _complete(
        model(torch.nan_to_num(features))
    ),
    "TorchScript: batch frozen": lambda model, features: _complete(model(features.reshape(2, 2))),
    "TorchScript: standardised twice": lambda model, features: _complete(model((features - 5) / 2)),
    "TorchScript: outputs in another order": _reversed,
}


def _torchscript(answer: Callable[[SimpleNet, torch.Tensor], Answers]) -> Callable[..., ModelFiles]:
    def files(good: Good) -> ModelFiles:
        content = write_torchscript(Faulty(good, answer).eval(), good.candidate.schema)
        return replace(good.files, torchscript=content)

    return files


def _frozen_program(good: Good) -> ModelFiles:
    """Capture as torch does when nobody names the batch as a dimension of its own."""
    deployed = Deployed(good.copy_model()).eval().requires_grad_(requires_grad=False)
    example = torch.zeros(2, good.candidate.schema.n_inputs)
    return replace(good.files, program=write_program(torch.export.export(deployed, (example,))))


def _swapped_program(good: Good) -> ModelFiles:
    model = good.copy_model()
    with torch.no_grad():
        first = model.linear_layers()[0]
        first.weight.copy_(first.weight.flip(1))
    deployed = Deployed(model).eval().requires_grad_(requires_grad=False)
    content = write_program(capture_program(deployed, good.candidate.schema))
    return replace(good.files, program=content)


def _training_program(good: Good) -> ModelFiles:
    dropping = Faulty(
        good, lambda model, features: _complete(torch.dropout(model(features), 0.1, train=True))
    )
    content = write_program(capture_program(dropping.eval(), good.candidate.schema))
    return replace(good.files, program=content)


FAULTS = (
    *(
        Fault(name, "TorchScript", files=_torchscript(answer))
        for name, answer in _TORCHSCRIPT.items()
    ),
    Fault(
        "TorchScript: of another run",
        "TorchScript",
        files=lambda good: replace(good.files, torchscript=good.other.torchscript),
    ),
    Fault(
        "TorchScript: cut in half",
        "TorchScript",
        files=lambda good: replace(good.files, torchscript=good.files.torchscript[:3000]),
    ),
    Fault("program: batch frozen", "program", files=_frozen_program),
    Fault("program: feature columns swapped", "program", files=_swapped_program),
    Fault("program: dropout in training mode", "program", files=_training_program),
    Fault(
        "program: of another run",
        "program",
        files=lambda good: replace(good.files, program=good.other.program),
    ),
    Fault(
        "program: cut in half",
        "program",
        files=lambda good: replace(good.files, program=good.files.program[:6000]),
    ),
)
