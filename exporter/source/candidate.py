"""What is exported: a model with its truth, and what its bundle will say of it.

In: a run, or a module that was brought. Out: a ``Candidate``. A run whose weights are not finite
is a ``ParityError``, a module that cannot be proven a ``UsageError``.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import torch

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program
from exporter.rows.draws import ranges_of
from exporter.rows.sample import sample_inside
from exporter.source.training import refuse_training_answers, refuse_training_layers
from exporter.truth.chain import find_gaps, find_layers, refuse_aborting, refuse_training
from exporter.truth.derived import derive
from exporter.truth.enclosure import rows_with_all
from exporter.truth.layers import gaps_of, layers_of
from exporter.truth.measured import measure
from runtime.bundle.manifest import Provenance
from runtime.errors import SchemaError, UsageError
from runtime.schema.matrix import usable_values

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from exporter.truth.truth import Truth
    from runtime.schema.features import Float32Matrix, Schema
    from trainer.run import Run

_COMPARED = 256  # rows that are answered in the mode that a module came in, too


@dataclass(frozen=True)
class Labelled:
    """Rows whose class is known.

    Attributes:
        features: ``(rows, n_features)`` float32, raw.
        labels: ``(rows,)`` int64, positions in the schema's classes.
    """

    features: Float32Matrix
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """A model to export.

    Attributes:
        name: of the model.
        model: maps ``(batch, n_features)`` float32 to logits ``(batch, classes)``; on the CPU, in
            evaluation mode.
        schema: its columns and classes.
        truth: what every file of it must compute.
        metrics: measured when it was trained, by name.
        provenance: where it comes from.
        train: rows that it was trained on; None where they are not known.
        test: rows that it was tested on; None where they are not known.
    """

    name: str
    model: nn.Module
    schema: Schema
    truth: Truth
    metrics: dict[str, float]
    provenance: Provenance
    train: Labelled | None = None
    test: Labelled | None = None

    @property
    def known(self) -> Float32Matrix:
        """Test rows that can be answered, ``(rows, n_inputs)``; none where none are."""
        if self.test is None:
            return np.empty((0, self.schema.n_inputs), np.float32)
        features = self.test.features
        return features[rows_with_all(usable_values(self.schema, features))]


def candidate_of_run(run: Run) -> Candidate:
    """Take what a run holds.

    Args:
        run: as read.

    Returns:
        The candidate.

    Raises:
        ParityError: when a weight is NaN or infinite.
    """
    record, rows = run.record, run.rows
    return Candidate(
        name=record.model,
        model=run.model,
        schema=record.schema,
        truth=derive(layers_of(run.model), gaps_of(run.model)),
        metrics=record.metrics,
        provenance=Provenance(
            seed=record.seed,
            data_digest=record.data_digest,
            configuration=record.configuration,
            versions=record.versions,
        ),
        train=Labelled(rows.train_features.numpy(), rows.train_labels.numpy()),
        test=Labelled(rows.test_features.numpy(), rows.test_labels.numpy()),
    )


def candidate_of_module(
    model: nn.Module, schema: Schema, *, name: str, test: Labelled | None = None
) -> Candidate:
    """Take a module that was trained elsewhere.

    A chain of Linear layers with ReLU between them gets derived bounds; the tolerance of any
    other is measured.

    Args:
        model: maps ``(batch, n_features)`` float32 to logits ``(batch, classes)`` float32.
        schema: its columns, with the ranges seen in training, and its classes.
        name: of the model.
        test: rows with their classes, for the proof and the report.

    Returns:
        The candidate; it holds a copy of the module, on the CPU.

    Raises:
        UsageError: when the module is in training mode and does something else there, cannot be
            captured, or does not answer each row for itself.
        SchemaError: when it does not lead from the schema's features to its classes, or the test
            rows do not fit the schema.
        ParityError: when a weight is NaN or infinite.
    """
    brought = copy.deepcopy(model).cpu().requires_grad_(requires_grad=False)
    refuse_training_layers(brought)
    model = copy.deepcopy(brought).eval()
    _check_dtypes(model)
    program = capture_program(Deployed(model), schema)
    refuse_aborting(program)
    refuse_training(program)
    _check_shapes(model, schema, test)
    ranges = ranges_of(schema)
    sample = sample_inside(ranges)
    refuse_training_answers(brought, model, sample[-_COMPARED:])
    layers = find_layers(program)
    truth = (
        derive(layers, find_gaps(program)) if layers else measure(model, program, sample, ranges)
    )
    versions = {package: metadata.version(package) for package in ("torch", "numpy")}
    return Candidate(
        name=name,
        model=model,
        schema=schema,
        truth=truth,
        metrics={},
        provenance=Provenance(seed=None, data_digest=None, configuration={}, versions=versions),
        test=test,
    )


def _check_dtypes(model: nn.Module) -> None:
    other = {
        str(tensor.dtype)
        for tensor in (*model.parameters(), *model.buffers())
        if tensor.is_floating_point() and tensor.dtype != torch.float32
    }
    if other:
        raise UsageError(
            f"the model holds {', '.join(sorted(other))} weights; bundles are float32: call float()"
        )


def _check_shapes(model: nn.Module, schema: Schema, test: Labelled | None) -> None:
    try:
        with torch.inference_mode():
            logits = model(torch.zeros(2, schema.n_inputs))  # (2, classes)
    except Exception as exc:  # whatever a module raises
        raise UsageError(
            f"the model cannot answer rows of zeros: {exc}; it has to answer any numbers, those "
            "outside the ranges too"
        ) from exc
    if logits.shape != (2, schema.n_classes) or logits.dtype != torch.float32:
        raise SchemaError(
            f"for 2 rows of {schema.n_inputs} features the model answers {logits.dtype} of "
            f"shape {tuple(logits.shape)}; the schema has {schema.n_classes} classes, "
            f"so it must be torch.float32 of shape (2, {schema.n_classes})"
        )
    if test is None:
        return
    labels = test.labels
    fits = test.features.shape == (len(labels), schema.n_inputs) and labels.ndim == 1
    if not fits or ((labels < 0) | (labels >= schema.n_classes)).any():
        raise SchemaError(
            f"test rows of shape {test.features.shape} with labels of shape {labels.shape} do not "
            f"fit {schema.n_inputs} features and labels from 0 to {schema.n_classes - 1}"
        )
