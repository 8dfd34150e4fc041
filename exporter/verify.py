"""Repeat the proof of a bundle on this machine, from the bundle alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from exporter.formats.model_files import ModelFiles
from exporter.formats.onnx import check_contract
from exporter.formats.program import load_program
from exporter.parity.backends import all_backends
from exporter.parity.refinement import evaluate_with_spread
from exporter.parity.report import Report
from exporter.parity.rows import FULL, draw_rows
from exporter.parity.sampling import ranges_of, sample_inside
from exporter.progress import begin
from exporter.proof import prove_model
from exporter.reference.capture import find_network
from exporter.reference.layers import model_of
from exporter.reference.measured import ProgramLogits, measure_reference
from exporter.reference.oracle import derive_reference
from runtime.bundle.golden import check_golden, load_golden
from runtime.bundle.manifest import (
    FORMAT,
    GOLDEN,
    MANIFEST,
    ONNX_MODEL,
    PARITY,
    PROGRAM_MODEL,
    TORCHSCRIPT_MODEL,
    parse_record,
)
from runtime.bundle.reading import read_bundle
from runtime.errors import ArtifactError, ParityError
from runtime.io.paths import parse_location
from runtime.session import Session, available_providers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from exporter.parity.rows import Plan
    from exporter.progress import OnProgress
    from exporter.reference.layers import Layer
    from exporter.reference.oracle import Reference
    from exporter.reference.preprocessing import Preprocessing
    from runtime.bundle.golden import Golden
    from runtime.bundle.reading import BundleFiles
    from runtime.io.paths import Location
    from runtime.schema.features import Schema

# How much wider the golden rows' bounds may be than those computed here: derived ones differ by
# float64 roundings, measured ones by PyTorch's own error on another CPU.
_MAX_WIDENING = {"derived": 1.001, "measured": 16.0}


def verify_bundle(
    path: Location | str,
    *,
    plan: Plan = FULL,
    on_progress: OnProgress | None = None,
    key: Path | None = None,
) -> Report:
    """Repeat the proof of a bundle.

    The reference and the PyTorch eager backend are rebuilt from ``model.pt2``; the known rows are
    the golden rows.

    Args:
        path: the bundle's folder.
        plan: how much is run.
        on_progress: called at the start of every stage, and after every step of the proof.
        key: PEM file of the public key that must have signed the bundle.

    Returns:
        The report, passed or not.

    Raises:
        ArtifactError: when the bundle is damaged, incomplete or of an unknown format, or with
            ``key`` not signed by it or altered since.
        UsageError: when the plan selects a backend or row that does not exist, or ``key`` has no
            public key.
        UnavailableError: when onnxruntime or cryptography is missing or a provider does not work.
        ParityError: when a file breaks the contract or the golden rows do not match.
    """
    path = parse_location(path)
    begin("loading", on_progress)
    bundle = read_bundle(path, key)
    schema = bundle.manifest.schema
    for name in (TORCHSCRIPT_MODEL, PROGRAM_MODEL, PARITY):
        if name not in bundle.files:
            raise ArtifactError(f"{path} has no {name} to prove; export it again")
    proof = _load_proof(bundle)
    reference = _load_reference(bundle, proof)
    golden = load_golden(bundle.files[GOLDEN], schema, where=str(path / GOLDEN))
    _check_golden_bounds(golden, reference, where=str(path / GOLDEN))
    _check_requirements(bundle)
    plan = plan.for_cost(reference.cost, schema.n_inputs)
    begin("drawing rows", on_progress)
    rows = draw_rows(
        schema,
        reference.predict,
        golden.features,
        plan,
        edges=reference.preprocessing.edges,
        only_usable=reference.only_usable,
    )
    files = ModelFiles(
        onnx=bundle.files[ONNX_MODEL],
        torchscript=bundle.files[TORCHSCRIPT_MODEL],
        program=bundle.files[PROGRAM_MODEL],
    )
    layers, preprocessing = reference.layers, reference.preprocessing
    model = model_of(layers, preprocessing) if layers else None
    backends = all_backends(files, model, layers, preprocessing, where=path)
    report = prove_model(backends, reference, rows, plan=plan, on_progress=on_progress)
    report = msgspec.structs.replace(report, output=proof.output)
    if report and plan.is_complete:
        begin("checking", on_progress)
        _check_golden_rows(bundle, golden)
    return report


def _load_proof(bundle: BundleFiles) -> Report:
    """Read the stored proof; ``ParityError`` where it failed."""
    proof = parse_record(
        bundle.files[PARITY], Report, known_format=FORMAT, where=str(bundle.path / PARITY)
    )
    if not proof.passed:
        raise ParityError(f"{bundle.path / PARITY} records a failed proof; export the model again")
    return proof


def _load_reference(bundle: BundleFiles, proof: Report) -> Reference:
    """Build the reference from ``model.pt2``, with the kind of tolerance that the proof states."""
    where = bundle.path / PROGRAM_MODEL
    schema = bundle.manifest.schema
    program = load_program(bundle.files[PROGRAM_MODEL], where=str(where))
    network = find_network(program)
    if proof.tolerance == "measured":
        if network:
            raise ParityError(
                f"{bundle.path / PARITY} has a measured tolerance, though bounds can be derived "
                f"from {where}; export the model again"
            )
        ranges = ranges_of(schema)
        logits = ProgramLogits(program.module())
        return measure_reference(logits, program, sample_inside(ranges), ranges.contain)
    if network is None:
        raise ParityError(
            f"{where} is not a chain of Linear layers with ReLU between them, though {PARITY} has "
            "bounds derived from one; export the model again"
        )
    _check_inputs(*network, schema, where)
    return derive_reference(*network)


def _check_inputs(
    layers: Sequence[Layer], preprocessing: Preprocessing, schema: Schema, where: Location
) -> None:
    """Compare the inputs and outputs of a network with the schema's."""
    imputer = preprocessing.imputer
    found = layers[0].weight.shape[1], layers[-1].weight.shape[0]
    if found != (preprocessing.width(schema.n_inputs), schema.n_classes):
        n_inputs = found[0] - preprocessing.width(0)
        raise ParityError(
            f"{where} maps {n_inputs} features to {found[1]} classes, the schema has "
            f"{schema.n_inputs} and {schema.n_classes}; export the model again"
        )
    if (imputer.columns if imputer else ()) != schema.imputed_inputs:
        raise ParityError(
            f"{where} does not impute exactly the columns that the schema allows to be missing, "
            f"{[schema.inputs[at] for at in schema.imputed_inputs]}; export the model again"
        )


def _check_requirements(bundle: BundleFiles) -> None:
    """Compare the manifest's requirements with the model's."""
    manifest = bundle.manifest
    needed = check_contract(
        bundle.files[ONNX_MODEL],
        manifest.schema,
        name=manifest.model.name,
        where=str(bundle.path / ONNX_MODEL),
    )
    if needed != manifest.requires:
        raise ParityError(
            f"{bundle.path / MANIFEST} states {manifest.requires}, the model needs {needed}; "
            "export the run again"
        )


def _check_golden_bounds(golden: Golden, reference: Reference, *, where: str) -> None:
    """Compare the golden rows' bounds with the reference's: wide ones would accept anything."""
    expected = evaluate_with_spread(reference, golden.features)
    limit = _MAX_WIDENING[reference.tolerance]
    for name in ("logits", "probabilities"):
        stored, bound = getattr(golden, f"{name}_bound"), getattr(expected, name).error
        if (stored > limit * bound).any():
            raise ParityError(
                f"{where} allows errors of {name} up to {stored.max():.3g}, "
                f"{bound.max():.3g} is correct; export the model again"
            )
    if (expected.decidable & ~golden.decidable).any() and reference.tolerance == "derived":
        raise ParityError(f"{where} marks decidable rows as undecidable; export the model again")


def _check_golden_rows(bundle: BundleFiles, golden: Golden) -> None:
    for provider in available_providers():
        model = bundle.files[ONNX_MODEL]
        session = Session(model, provider=provider, where=str(bundle.path / ONNX_MODEL))
        check_golden(session, golden, where=str(bundle.path))
