"""The model to export, with its reference and the metadata of its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from exporter.formats.deployed import Deployed
from exporter.formats.program import capture_program
from exporter.parity.sampling import ranges_of, sample_inside
from exporter.reference.capture import find_network
from exporter.reference.intervals import rows_with_all
from exporter.reference.layers import layers_of, preprocessing_of
from exporter.reference.measured import measure_reference
from exporter.reference.oracle import derive_reference
from exporter.source.endings import editable_graph
from exporter.source.logarithms import needs_rewriting, rewrite_logarithms
from exporter.source.outputs import read_output, take_logits
from exporter.source.preparation import evaluating, prepare
from exporter.source.validation import (
    check_dtypes,
    check_test_rows,
    refuse_aborting,
    refuse_nondeterminism,
    refuse_training_layers,
    refuse_training_outputs,
)
from runtime.bundle.manifest import Provenance
from runtime.schema.matrix import usable_values
from trainer.config import Configuration
from trainer.data.dataset import LabelledRows

if TYPE_CHECKING:
    from torch import nn

    from exporter.reference.oracle import Reference
    from exporter.source.outputs import Output
    from runtime.bundle.manifest import Scalar
    from runtime.schema.features import Float32Matrix, Schema
    from trainer.data.dataset import DataCheck
    from trainer.run import Run

_COMPARED = 256  # rows that run in the module's original mode too
_INSPECTED = 4096  # rows by whose outputs their kind is detected


@dataclass(frozen=True)
class Candidate:
    """A model to export."""

    name: str
    model: nn.Module  # (batch, n_features) to logits (batch, classes); CPU, evaluation mode
    schema: Schema
    reference: Reference
    metrics: dict[str, float]  # measured in training
    provenance: Provenance
    train: LabelledRows | None = None
    test: LabelledRows | None = None
    output: str | None = None  # how its logits are derived from the user's module, if they are
    weights: str | None = None  # the part of the weights' file that was loaded, if not all

    @property
    def usable_test_features(self) -> Float32Matrix:
        """Test rows that the runtime accepts, ``(rows, n_inputs)``."""
        if self.test is None:
            return np.empty((0, self.schema.n_inputs), np.float32)
        features = self.test.features
        return features[rows_with_all(usable_values(self.schema, features))]


def candidate_from_run(run: Run, name: str | None = None) -> Candidate:
    """Make a candidate from a run; ``ParityError`` when a weight is NaN or infinite.

    ``name`` is the model's, by default its architecture's.
    """
    record, rows = run.record, run.rows
    return Candidate(
        name=name or record.model,
        model=run.model,
        schema=record.schema,
        reference=derive_reference(layers_of(run.model), preprocessing_of(run.model)),
        metrics=record.metrics,
        provenance=Provenance(
            seed=record.seed,
            data_digest=record.data_digest,
            configuration=record.configuration | _hidden(record.member_hidden),
            versions=record.versions,
            rejected_rows=_rejected_rows(record.check),
            left_out_columns=_left_out_columns(record.check),
        ),
        train=LabelledRows(rows.train_features.numpy(), rows.train_labels.numpy()),
        test=LabelledRows(rows.test_features.numpy(), rows.test_labels.numpy()),
    )


def _hidden(widths: tuple[int, ...]) -> dict[str, Scalar]:
    """Return the widths of a member's hidden layers as their option; nothing for the default."""
    is_default = widths == Configuration().hidden
    return {} if is_default else {"hidden": ",".join(map(str, widths))}


def _rejected_rows(check: DataCheck | msgspec.UnsetType) -> dict[str, int] | msgspec.UnsetType:
    """Count the rejected rows of the training table by reason; unset where none are rejected."""
    if check is msgspec.UNSET or check.rejected is msgspec.UNSET:
        return msgspec.UNSET
    return {each.reason: each.rows for each in check.rejected if each.rows}


def _left_out_columns(check: DataCheck | msgspec.UnsetType) -> dict[str, str] | msgspec.UnsetType:
    """List the columns that are no features, with the reason; unset if there are none."""
    columns = () if check is msgspec.UNSET else check.columns
    return {each.name: each.reason for each in columns if each.reason} or msgspec.UNSET


def candidate_from_module(
    model: nn.Module,
    schema: Schema,
    *,
    name: str,
    test: LabelledRows | None = None,
    output: Output | None = None,
    output_name: str | None = None,
) -> Candidate:
    """Make a candidate from a copy of a module that was trained elsewhere.

    A chain of Linear layers with ReLU between them gets derived bounds; the tolerance of any
    other module is measured. Raises as ``exporter.export_model`` does.
    """
    original = prepare(model)
    refuse_training_layers(original)
    model = evaluating(original)
    check_dtypes(model)
    reader = read_output(model, schema, output_name)
    model = reader.wrap(model)
    program = capture_program(model if reader.is_single else Deployed(model), schema)
    rewritten = None
    if needs_rewriting(program.graph):
        model, rewritten = rewrite_logarithms(editable_graph(capture_program(model, schema)))
        program = capture_program(model if reader.is_single else Deployed(model), schema)
    refuse_aborting(program)
    refuse_nondeterminism(program)
    if test is not None:
        check_test_rows(test.features, test.labels, schema)
    ranges = ranges_of(schema)
    sample = sample_inside(ranges)
    refuse_training_outputs(reader.wrap(original), model, sample[-_COMPARED:])
    scores = take_logits(model, program, reader, schema, sample[:_INSPECTED], output)
    if scores.model is not model:
        program = capture_program(Deployed(scores.model), schema)
    network = find_network(program)
    reference = (
        derive_reference(*network)
        if network
        else measure_reference(scores.model, program, sample, ranges.contain)
    )
    versions = {package: metadata.version(package) for package in ("torch", "numpy")}
    return Candidate(
        name=name,
        model=scores.model,
        schema=schema,
        reference=reference,
        metrics={},
        provenance=Provenance(seed=None, data_digest=None, configuration={}, versions=versions),
        test=test,
        output="; ".join(filter(None, (scores.description, rewritten))) or None,
    )
