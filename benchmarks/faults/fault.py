"""A fault: a reproducible change that makes a correct export wrong."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from exporter.bundling import convert_candidate
from exporter.formats.onnx import write_onnx
from exporter.formats.program import capture_program, write_program
from exporter.formats.torchscript import write_torchscript
from exporter.source.candidate import candidate_from_run
from trainer.data.preprocessing import fit_standardisation
from trainer.model import SimpleNet, Standardisation, fold_standardisation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

    from exporter.formats.model_files import ModelFiles
    from exporter.source.candidate import Candidate
    from trainer.run import Run

Place = Literal["all files", "ONNX", "TorchScript", "program", "bundle", "custom model"]


@dataclass(frozen=True)
class CustomModel:
    """A model that was trained elsewhere, and its right files.

    Attributes:
        candidate: what is exported.
        files: its right model files.
    """

    candidate: Candidate
    files: ModelFiles


@dataclass(frozen=True)
class Good:
    """A good export, and one of another seed to mix it up with.

    Attributes:
        candidate: what is exported.
        files: its right model files.
        other: model files of a run with another seed.
        bundle: its published bundle.
        other_bundle: the bundle of the other run.
        standardisation: that was folded into its first layer.
        custom: a good export of another kind, whose tolerance is measured.
    """

    candidate: Candidate
    files: ModelFiles
    other: ModelFiles
    bundle: Path
    other_bundle: Path
    standardisation: Standardisation
    custom: CustomModel

    def copy_model(self) -> SimpleNet:
        """The model, to be changed."""
        model = copy.deepcopy(self.candidate.model)
        if not isinstance(model, SimpleNet):
            raise TypeError("the faults are made for SimpleNet")
        return model

    def unfolded(self) -> SimpleNet:
        """The model as it was trained, on standardised features."""
        mean, std = self.standardisation.mean, self.standardisation.std
        return fold_standardisation(self.copy_model(), -mean / std, 1 / std)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        name: for reports.
        place: what is wrong.
        files: makes the wrong model files; None for a fault of the published bundle.
        bundle: changes a copy of the published bundle; None for a fault of the model files.
    """

    name: str
    place: Place
    files: Callable[[Good], ModelFiles] | None = None
    bundle: Callable[[Path, Good], None] | None = None

    def candidate(self, good: Good) -> Candidate:
        """What is exported with these files."""
        return good.custom.candidate if self.place == "custom model" else good.candidate


def good_export(
    run: Run, other: Run, bundle: Path, other_bundle: Path, custom: CustomModel
) -> Good:
    """Put together what the faults are injected into.

    Args:
        run: to export.
        other: of another seed.
        bundle: exported from ``run``.
        other_bundle: exported from ``other``.
        custom: a good export of a model from elsewhere.

    Returns:
        The good export.
    """
    candidate = candidate_from_run(run)
    return Good(
        candidate=candidate,
        files=convert_candidate(candidate),
        other=convert_candidate(candidate_from_run(other)),
        bundle=bundle,
        other_bundle=other_bundle,
        standardisation=fit_standardisation(run.rows.train_features),
        custom=custom,
    )


def of_model(change: Callable[[Good], nn.Module]) -> Callable[[Good], ModelFiles]:
    """Convert another model than the one that was trained."""

    def files(good: Good) -> ModelFiles:
        return convert_candidate(replace(good.candidate, model=change(good).eval()))

    return files


def of_deployed(change: Callable[[Good], nn.Module]) -> Callable[[Good], ModelFiles]:
    """Convert a module with its own idea of label and probabilities, or of the batch."""

    def files(good: Good) -> ModelFiles:
        schema = good.candidate.schema
        deployed = change(good).eval().requires_grad_(requires_grad=False)
        program = capture_program(deployed, schema)
        return replace(
            good.files,
            onnx=write_onnx(program, schema, name=good.candidate.name),
            torchscript=write_torchscript(deployed, schema),
            program=write_program(program),
        )

    return files
