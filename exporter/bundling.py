"""Export a run, or a module trained elsewhere, as a bundle with a proof of parity."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from exporter.formats.model_files import ModelFiles, convert_model
from exporter.formats.onnx import check_contract
from exporter.parity.backends import all_backends
from exporter.parity.refinement import evaluate_with_spread
from exporter.parity.report import require
from exporter.parity.rows import FULL, draw_rows
from exporter.progress import begin
from exporter.proof import prove_model
from exporter.report.page import ReportData, render_report
from exporter.source.candidate import candidate_from_module, candidate_from_run
from exporter.source.factory import ModelSource
from exporter.terminal import progress_bar
from runtime.bundle.golden import Golden, save_golden
from runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    REPORT,
    Manifest,
    Model,
    model_signature,
    to_json,
)
from runtime.bundle.reading import digest, model_version
from runtime.cards import html_card
from runtime.errors import ArtifactError, ParityError, UsageError
from runtime.io.folders import atomic_folder
from runtime.io.paths import parse_local_path, parse_location
from runtime.printable import list_first, printable
from runtime.session import Session, onnxruntime_version
from trainer.run import Run, load_run

if TYPE_CHECKING:
    from torch import nn

    from exporter.parity.report import Report
    from exporter.parity.rows import ParityRows, Plan
    from exporter.progress import OnProgress
    from exporter.reference.oracle import Evaluate
    from exporter.source.candidate import Candidate
    from exporter.source.outputs import Output
    from runtime.bundle.manifest import Requirements
    from runtime.schema.features import Schema
    from trainer.data.dataset import LabelledRows

Convert = Callable[["Candidate"], ModelFiles]
_PACKAGES = ("onnx", "onnxscript")
_GOLDEN_ROWS = {"known": 16, "corners": 8, "edges": 4, "uniform": 8, "bins": 8}  # of a group


def convert_candidate(candidate: Candidate) -> ModelFiles:
    """Convert a candidate's model to every format."""
    return convert_model(candidate.model, candidate.schema, name=candidate.name)


@dataclass(frozen=True)
class Bundle:
    """A published bundle; a path, so that ``runtime.Predictor`` takes it.

    Attributes:
        path: its folder.
        manifest: as stored.
        report: the proof.
    """

    path: Path
    manifest: Manifest
    report: Report

    def __fspath__(self) -> str:
        return str(self.path)

    def __repr__(self) -> str:
        model = self.manifest.model
        return f"Bundle({printable(f'{model.name} {model.version}: {self._proof}; {self.path}')})"

    def _repr_html_(self) -> str:
        model, schema, rows = self.manifest.model, self.manifest.schema, self.report.rows
        lines = [
            ("folder", str(self.path)),
            ("predicts", f"{schema.target}: {list_first(schema.classes)}"),
            ("from", list_first(schema.feature_names)),
            ("proof", f"{self._proof}, {len(self.report.backends)} backends, {rows:,} rows"),
            ("files", ", ".join(self.manifest.files)),
        ]
        return html_card(f"Bundle {model.name} {model.version}", lines)

    @property
    def _proof(self) -> str:
        limit = "derived bound" if self.report.tolerance == "derived" else "measured tolerance"
        return f"worst error {self.report.worst_error_over_bound:.3f} of its {limit}"


@dataclass(frozen=True)
class _Proof:
    rows: ParityRows
    report: Report
    requires: Requirements


def export(
    run: Run | Path | str,
    out: Path | str | None = None,
    *,
    name: str | None = None,
    convert: Convert = convert_candidate,
    plan: Plan = FULL,
    on_progress: OnProgress | None = None,
) -> Bundle:
    """Export a run as a bundle.

    Args:
        run: as ``trainer.fit_table`` returned it, or its folder.
        out: the bundle's folder; an existing bundle is replaced atomically. None is the run's
            folder with ``.bundle`` at its end.
        name: of the model; None is ``simplenet``.
        convert: makes the model files, which the proof then checks.
        plan: how much the proof runs; recorded in the bundle.
        on_progress: called at the start of every stage, and after every step of the proof; None
            shows a progress bar in a notebook or on a terminal.

    Returns:
        The bundle.

    Raises:
        ArtifactError: when the run is damaged.
        UsageError: when ``out`` holds something else or cannot be written, or the plan is partial.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the trained model computes.
    """
    _require_complete(plan)
    begin("loading", on_progress)
    run = run if isinstance(run, Run) else load_run(parse_location(run))
    if out is None:
        if run.path is None:
            raise UsageError("this run has no folder: give out, the folder of the bundle")
        beside = run.path.with_name(f"{run.path.name}.bundle")
        if not isinstance(beside, Path):
            raise UsageError(f"{run.path} is in a store: give out, a local folder for the bundle")
        out = beside
    command = ModelSource(run.path, name=name).command if run.path else None
    with nullcontext(on_progress) if on_progress else progress_bar() as report_progress:
        return export_candidate(
            candidate_from_run(run, name),
            out,
            command=command,
            convert=convert,
            plan=plan,
            on_progress=report_progress,
        )


def export_model(  # noqa: PLR0913 - what only the user knows
    model: nn.Module,
    schema: Schema,
    out: Path | str,
    *,
    name: str = "model",
    test: LabelledRows | None = None,
    output: Output | None = None,
    output_name: str | None = None,
    plan: Plan = FULL,
    on_progress: OnProgress | None = None,
) -> Bundle:
    """Export a module that was trained elsewhere as a bundle.

    A chain of Linear layers with ReLU between them gets derived bounds. For any other module the
    tolerance is measured in float64, and the proof says so.

    Args:
        model: maps ``(batch, n_features)`` float32 to class scores ``(batch, classes)`` float32,
            each row independently; in evaluation mode. Of a dict or tuple the output ``logits``,
            the only or the first one is taken. Probabilities, and one number a row for two
            classes, are turned into logits.
        schema: its columns, with the ranges seen in training, and its classes.
        out: the bundle's folder; an existing bundle is replaced atomically.
        name: of the model.
        test: rows with their classes, for the proof and the report.
        output: what the model returns, where its graph does not show it: ``logits`` or
            ``probabilities`` for each class, or the ``logit`` or ``probability`` of the second.
        output_name: which of several outputs has it.
        plan: how much the proof runs; recorded in the bundle.
        on_progress: called at the start of every stage, and after every step of the proof.

    Returns:
        The bundle.

    Raises:
        UsageError: when the model is in training mode, cannot be captured or does not compute each
            row independently, its output is not what ``output`` says, or ``out`` cannot be
            written.
        SchemaError: when the model or the test rows do not fit the schema.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the model computes.
    """
    _require_complete(plan)
    begin("loading", on_progress)
    candidate = candidate_from_module(
        model, schema, name=name, test=test, output=output, output_name=output_name
    )
    return export_candidate(candidate, out, plan=plan, on_progress=on_progress)


def export_candidate(
    candidate: Candidate,
    out: Path | str,
    *,
    command: str | None = None,
    convert: Convert = convert_candidate,
    plan: Plan = FULL,
    on_progress: OnProgress | None = None,
) -> Bundle:
    """Export a candidate as ``export`` does; ``command`` reproduces it, for messages."""
    _require_complete(plan)
    out = parse_local_path(out)
    with atomic_folder(out, marker=MANIFEST) as folder:
        begin("converting", on_progress)
        convert(candidate).write(folder)
        # The files are proven as read back from disk.
        proof = _prove(candidate, ModelFiles.read(folder), plan, on_progress)
        _require_parity(proof.report, command)
        begin("reporting", on_progress)
        (folder / PARITY).write_bytes(to_json(proof.report))
        golden = choose_golden(proof.rows, partial(evaluate_with_spread, candidate.reference))
        (folder / GOLDEN).write_bytes(save_golden(golden))
        data = _report_data(candidate, proof.report, _manifest(candidate, proof, folder), folder)
        (folder / REPORT).write_bytes(render_report(data))
        manifest = _manifest(candidate, proof, folder)
        (folder / MANIFEST).write_bytes(manifest.to_json())
    return Bundle(out, manifest, proof.report)


def check_candidate(
    candidate: Candidate,
    plan: Plan,
    *,
    command: str | None = None,
    convert: Convert = convert_candidate,
    on_progress: OnProgress | None = None,
) -> Report:
    """Convert a candidate and run a part of its proof; nothing is published.

    Raises as ``export_candidate``, and ``UsageError`` for a backend or row that does not exist.
    """
    begin("converting", on_progress)
    report = _prove(candidate, convert(candidate), plan, on_progress).report
    _require_parity(report, command)
    return report


def choose_golden(rows: ParityRows, evaluate: Evaluate) -> Golden:
    """Choose a few dozen rows inside the ranges, with exact outputs and bounds."""
    present = {group.name for group in rows.groups}
    groups = {name: rows.group(name) for name in _GOLDEN_ROWS if name in present}
    chosen = np.concatenate(
        [
            np.arange(group.start, min(group.stop, group.start + _GOLDEN_ROWS[name]))
            for name, group in groups.items()
        ]
    )
    features = rows.features[chosen]
    expected = evaluate(features)
    return Golden(
        features=features,
        label=expected.label,
        probabilities=expected.probabilities.value,
        logits=expected.logits.value,
        probabilities_bound=expected.probabilities.error,
        logits_bound=expected.logits.error,
        decidable=expected.decidable,
    )


def _require_complete(plan: Plan) -> None:
    if not plan.is_complete:
        raise UsageError(
            "a partial plan proves nothing, so nothing is published; use check_candidate"
        )


def _require_parity(report: Report, command: str | None) -> None:
    require(report, command=command, consequence="nothing was published")


def _prove(
    candidate: Candidate, files: ModelFiles, plan: Plan, on_progress: OnProgress | None
) -> _Proof:
    """Run the proof of a candidate's files; ``ParityError`` where they break the contract."""
    schema, reference = candidate.schema, candidate.reference
    plan = plan.for_cost(reference.cost, schema.n_inputs)
    begin("drawing rows", on_progress)
    rows = draw_rows(
        schema,
        reference.predict,
        candidate.usable_test_features,
        plan,
        edges=reference.preprocessing.edges,
        only_usable=reference.only_usable,
    )
    try:
        requires = check_contract(files.onnx, schema, name=candidate.name, where=ONNX_MODEL)
        backends = all_backends(
            files, candidate.model, reference.layers, reference.preprocessing, where=Path()
        )
        report = prove_model(backends, reference, rows, plan=plan, on_progress=on_progress)
    except (
        ArtifactError,
        ParityError,
    ) as exc:  # unreadable although just written: the exporter's bug
        raise ParityError(f"{exc}; nothing was published") from exc
    if candidate.output:
        report = msgspec.structs.replace(report, output=candidate.output)
    return _Proof(rows, report, requires)


def _report_data(
    candidate: Candidate, report: Report, manifest: Manifest, folder: Path
) -> ReportData:
    """Collect the page's data, with the file and the session that serve."""
    session = Session((folder / ONNX_MODEL).read_bytes(), provider="cpu", where=ONNX_MODEL)
    return ReportData(
        manifest, report, session.run, candidate.train, candidate.test, _fills(candidate)
    )


def _fills(candidate: Candidate) -> dict[str, float]:
    """Return what replaces a missing cell of each imputed column, in the unit of its input."""
    imputer, inputs = candidate.reference.preprocessing.imputer, candidate.schema.inputs
    if imputer is None:
        return {}
    return {inputs[at]: float(imputer.fill_values[at]) for at in imputer.columns}


def _manifest(candidate: Candidate, proof: _Proof, folder: Path) -> Manifest:
    """Make the manifest of the files in a folder."""
    contents = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    files = {name: digest(content) for name, content in contents.items()}
    exporters = {name: metadata.version(name) for name in _PACKAGES}
    provenance = candidate.provenance
    versions = {**provenance.versions, **exporters, "onnxruntime": onnxruntime_version()}
    return Manifest(
        format=1,
        model=Model(candidate.name, model_version(files[ONNX_MODEL])),
        schema=candidate.schema,
        signature=model_signature(candidate.schema),
        files=files,
        training=candidate.metrics,
        provenance=msgspec.structs.replace(provenance, versions=versions),
        requires=proof.requires,
    )
