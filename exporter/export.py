"""From a run, or a model of one's own, to a bundle that carries its proof.

In: a run folder or a module. Out: a bundle folder, which appears only when every contender kept
its bounds on the very files in it. Raises ``ParityError`` when one did not, ``ArtifactError`` for
a damaged run, ``UsageError`` for a destination that is not replaced.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from exporter.formats.model_files import ModelFiles, convert_model
from exporter.formats.onnx_model import check_contract
from exporter.golden_rows import choose_golden
from exporter.proof.contenders import every_contender
from exporter.proof.parity import require
from exporter.proof.proving import prove_model
from exporter.report.evidence import Evidence
from exporter.report.page import render_report
from exporter.rows.blocks import draw_rows
from exporter.rows.plan import FULL
from exporter.source.candidate import candidate_of_module, candidate_of_run
from runtime.bundle.golden import save_golden
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
from runtime.bundle.reading import digest
from runtime.errors import ArtifactError, ParityError, UsageError
from runtime.io.folders import atomic_folder
from runtime.session import Session, onnxruntime_version
from trainer.run import load_run

if TYPE_CHECKING:
    from torch import nn

    from exporter.proof.matrix import Watch
    from exporter.proof.parity import Report
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from exporter.source.candidate import Candidate, Labelled
    from runtime.bundle.manifest import Requirements
    from runtime.schema.features import Schema

Convert = Callable[["Candidate"], ModelFiles]
_PACKAGES = ("onnx", "onnxscript")
_VERSION_DIGITS = 12


def convert_candidate(candidate: Candidate) -> ModelFiles:
    """Write a candidate's model in every form; raises as ``convert_model`` does."""
    return convert_model(candidate.model, candidate.schema, name=candidate.name)


@dataclass(frozen=True)
class Exported:
    """A bundle that was published.

    Attributes:
        path: its folder.
        manifest: as stored.
        report: the proof.
    """

    path: Path
    manifest: Manifest
    report: Report


@dataclass(frozen=True)
class _Proof:
    """What the proof of a model's files was made with, and what came of it."""

    rows: ProofRows
    report: Report
    requires: Requirements


def export_run(
    source: Path | str,
    out: Path | str,
    *,
    convert: Convert = convert_candidate,
    plan: Plan = FULL,
    watch: Watch | None = None,
) -> Exported:
    """Make a bundle from a run.

    Args:
        source: the run's folder.
        out: the bundle's folder; an older bundle there is replaced, whole or not at all.
        convert: makes the model files. Whatever it makes has to pass the proof.
        plan: how much the proof runs; the bundle says so.
        watch: told after every step of the proof.

    Returns:
        The bundle.

    Raises:
        ArtifactError: when the run is damaged.
        UsageError: when ``out`` holds something else or cannot be written, or the plan is of a
            part of the proof.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the trained model computes.
    """
    _require_whole(plan)
    candidate = candidate_of_run(load_run(Path(source)))
    again = f"exporter export --run {shlex.quote(str(source))}"
    return export_candidate(candidate, out, again=again, convert=convert, plan=plan, watch=watch)


def export_model(
    model: nn.Module,
    schema: Schema,
    out: Path | str,
    *,
    name: str = "model",
    test: Labelled | None = None,
    plan: Plan = FULL,
) -> Exported:
    """Make a bundle from a model that was trained elsewhere.

    A chain of Linear layers with ReLU between them gets derived bounds. For any other module the
    tolerance is measured in float64, and the proof says so.

    Args:
        model: maps ``(batch, n_features)`` float32 to class scores ``(batch, classes)`` float32,
            each row for itself; in evaluation mode.
        schema: its columns, with the ranges seen in training, and its classes.
        out: the bundle's folder; an older bundle there is replaced, whole or not at all.
        name: of the model.
        test: rows with their classes, for the proof and the report.
        plan: how much the proof runs; the bundle says so.

    Returns:
        The bundle.

    Raises:
        UsageError: when the model is in training mode, cannot be captured or does not answer each
            row for itself, or ``out`` cannot be written.
        SchemaError: when the model or the test rows do not fit the schema.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the model computes.
    """
    _require_whole(plan)
    candidate = candidate_of_module(model, schema, name=name, test=test)
    return export_candidate(candidate, out, plan=plan)


def export_candidate(
    candidate: Candidate,
    out: Path | str,
    *,
    again: str | None = None,
    convert: Convert = convert_candidate,
    plan: Plan = FULL,
    watch: Watch | None = None,
) -> Exported:
    """Make a bundle from a model with all that is known of it; see ``export_run``.

    Args:
        candidate: to export.
        out: the bundle's folder.
        again: the command that takes ``--contender``, ``--batch`` and ``--row``, for messages.
        convert: makes the model files.
        plan: how much the proof runs.
        watch: told after every step of the proof.

    Returns:
        The bundle.
    """
    _require_whole(plan)
    out = Path(out)
    with atomic_folder(out, marker=MANIFEST) as folder:
        convert(candidate).write(folder)
        # What lies in the folder is proven, not what was meant to be written there.
        proof = _prove(candidate, ModelFiles.read(folder), plan, watch)
        _require(proof.report, again)
        (folder / PARITY).write_bytes(to_json(proof.report))
        golden = choose_golden(proof.rows, candidate.truth.ask)
        (folder / GOLDEN).write_bytes(save_golden(golden))
        shown = _describe(candidate, proof, folder)
        (folder / REPORT).write_bytes(
            render_report(_evidence(candidate, proof.report, shown, folder))
        )
        manifest = _describe(candidate, proof, folder)
        (folder / MANIFEST).write_bytes(manifest.to_json())
    return Exported(out, manifest, proof.report)


def try_candidate(
    candidate: Candidate,
    plan: Plan,
    *,
    again: str | None = None,
    convert: Convert = convert_candidate,
    watch: Watch | None = None,
) -> Report:
    """Convert a model and prove a part of what came of it; nothing is published.

    Args:
        candidate: to export.
        plan: what to run.
        again: the command that takes ``--contender``, ``--batch`` and ``--row``, for messages.
        convert: makes the model files.
        watch: told after every step.

    Returns:
        The report of a part that held.

    Raises:
        UsageError: when the plan asks for a contender or row that is not there.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the trained model computes.
    """
    report = _prove(candidate, convert(candidate), plan, watch).report
    _require(report, again)
    return report


def _require_whole(plan: Plan) -> None:
    if not plan.is_whole:
        raise UsageError("a part of the proof is no proof: nothing is published; see try_candidate")


def _require(report: Report, again: str | None) -> None:
    require(report, again=again, consequence="nothing was published")


def _prove(candidate: Candidate, files: ModelFiles, plan: Plan, watch: Watch | None) -> _Proof:
    """Run the proof of a model's files; ``ParityError`` where they do not keep the contract."""
    schema, truth = candidate.schema, candidate.truth
    plan = plan.for_cost(truth.products)
    rows = draw_rows(schema, truth.label_of, candidate.known, plan)
    try:
        requires = check_contract(files.onnx, schema, name=candidate.name, where=ONNX_MODEL)
        contenders = every_contender(files, candidate.model, truth.layers, truth.gaps, where=Path())
        report = prove_model(contenders, truth, rows, plan=plan, watch=watch)
    except (ArtifactError, ParityError) as exc:  # unreadable though just written: our fault
        raise ParityError(f"{exc}; nothing was published") from exc
    return _Proof(rows, report, requires)


def _evidence(candidate: Candidate, report: Report, manifest: Manifest, folder: Path) -> Evidence:
    """Gather what the page shows, answered by the file and the session that serve."""
    session = Session((folder / ONNX_MODEL).read_bytes(), provider="cpu", where=ONNX_MODEL)
    return Evidence(manifest, report, session.run, candidate.train, candidate.test)


def _describe(candidate: Candidate, proof: _Proof, folder: Path) -> Manifest:
    """Write the manifest of the files that lie in a folder."""
    contents = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    version = hashlib.sha256(contents[ONNX_MODEL]).hexdigest()[:_VERSION_DIGITS]
    exporters = {name: metadata.version(name) for name in _PACKAGES}
    provenance = candidate.provenance
    versions = {**provenance.versions, **exporters, "onnxruntime": onnxruntime_version()}
    return Manifest(
        format=1,
        model=Model(candidate.name, version),
        schema=candidate.schema,
        signature=model_signature(candidate.schema),
        files={name: digest(content) for name, content in contents.items()},
        training=candidate.metrics,
        provenance=msgspec.structs.replace(provenance, versions=versions),
        requires=proof.requires,
    )
