"""From a run to a bundle that carries its proof.

In: a run folder. Out: a bundle folder, which appears only when every contender kept its bounds on
the very files in it. Raises ``ParityError`` when one did not, ``ArtifactError`` for a damaged
run, ``UsageError`` for a destination that is not replaced.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from exporter.formats.model_files import ModelFiles, convert_run, prove_files
from exporter.formats.onnx_model import check_contract
from exporter.golden_rows import choose_golden
from exporter.proof.parity import require
from exporter.rows.blocks import draw_rows
from exporter.rows.boundary import label_by
from exporter.rows.plan import FULL
from exporter.truth.enclosure import rows_with_all
from exporter.truth.layer import check_layers
from exporter.truth.layers import layers_of
from exporter.truth.oracle import ask_oracle
from runtime.bundle import digest
from runtime.errors import ArtifactError, ParityError, UsageError
from runtime.files import atomic_folder
from runtime.golden import save_golden
from runtime.manifest import (
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    Manifest,
    Model,
    Provenance,
    signature_of,
    to_json,
)
from runtime.session import engine_version
from trainer.run import load_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.proof.matrix import Watch
    from exporter.proof.parity import Report
    from exporter.rows.blocks import ProofRows
    from exporter.rows.plan import Plan
    from runtime.manifest import Requirements
    from runtime.schema import Float32Matrix
    from trainer.run import Run

Convert = Callable[["Run"], ModelFiles]
_PACKAGES = ("onnx", "onnxscript")
_VERSION_DIGITS = 12


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
    """What the proof of a run's files was made with, and what came of it."""

    rows: ProofRows
    report: Report
    requires: Requirements


def export_run(
    source: Path,
    out: Path,
    *,
    convert: Convert = convert_run,
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
    if not plan.is_whole:
        raise UsageError("a part of the proof is no proof: nothing is published; see try_run")
    run = load_run(source)
    check_layers(layers_of(run.model))  # before the work, not after it
    with atomic_folder(out, marker=MANIFEST) as folder:
        convert(run).write(folder)
        # What lies in the folder is proven, not what was meant to be written there.
        proof = _prove(run, ModelFiles.read(folder), plan, watch)
        _require(proof.report, source)
        (folder / PARITY).write_bytes(to_json(proof.report))
        golden = choose_golden(proof.rows, partial(ask_oracle, layers_of(run.model)))
        (folder / GOLDEN).write_bytes(save_golden(golden))
        manifest = _describe(run, proof, folder)
        (folder / MANIFEST).write_bytes(manifest.to_json())
    return Exported(out, manifest, proof.report)


def try_run(
    source: Path, plan: Plan, *, convert: Convert = convert_run, watch: Watch | None = None
) -> Report:
    """Convert a run and prove a part of what came of it; nothing is published.

    Args:
        source: the run's folder.
        plan: what to run.
        convert: makes the model files.
        watch: told after every step of the proof.

    Returns:
        The report of a part that held.

    Raises:
        ArtifactError: when the run is damaged.
        UsageError: when the plan asks for a contender or row that is not there.
        UnavailableError: when onnxruntime is missing.
        ParityError: when a file does not compute what the trained model computes.
    """
    run = load_run(source)
    check_layers(layers_of(run.model))
    report = _prove(run, convert(run), plan, watch).report
    _require(report, source)
    return report


def _require(report: Report, source: Path) -> None:
    command = f"exporter export --run {shlex.quote(str(source))}"
    require(report, command=command, consequence="nothing was published")


def _prove(run: Run, files: ModelFiles, plan: Plan, watch: Watch | None) -> _Proof:
    """Run the proof of a run's files; ``ParityError`` where they do not even keep the contract."""
    schema, layers = run.record.schema, layers_of(run.model)
    plan = plan.for_layers(layers)
    known = _finite_rows(run.rows.test_features.numpy())
    rows = draw_rows(schema, label_by(layers), known, plan)
    try:
        requires = check_contract(files.onnx, schema, name=run.record.model, where=ONNX_MODEL)
        report = prove_files(files, layers, rows, plan=plan, watch=watch)
    except (ArtifactError, ParityError) as exc:  # unreadable though just written: our fault
        raise ParityError(f"{exc}; nothing was published") from exc
    return _Proof(rows, report, requires)


def _finite_rows(features: Float32Matrix) -> Float32Matrix:
    return features[rows_with_all(np.isfinite(features))]


def _describe(run: Run, proof: _Proof, folder: Path) -> Manifest:
    """Write the manifest of the files that lie in a folder."""
    record = run.record
    contents = {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
    version = hashlib.sha256(contents[ONNX_MODEL]).hexdigest()[:_VERSION_DIGITS]
    exporters = {name: metadata.version(name) for name in _PACKAGES}
    return Manifest(
        format=1,
        model=Model(record.model, version),
        schema=record.schema,
        signature=signature_of(record.schema),
        files={name: digest(content) for name, content in contents.items()},
        training=record.metrics,
        provenance=Provenance(
            seed=record.seed,
            data_digest=record.data_digest,
            configuration=record.configuration,
            versions={**record.versions, **exporters, "onnxruntime": engine_version()},
        ),
        requires=proof.requires,
    )
