"""The proof again, on this machine, from a bundle alone.

In: a bundle folder. Out: the report of the whole matrix. Raises ``ArtifactError`` for a damaged
bundle and ``ParityError`` where a file breaks the contract before anything is run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from exporter.formats.model_files import ModelFiles
from exporter.formats.onnx_model import check_contract
from exporter.formats.program import load_program
from exporter.proof.contenders import every_contender
from exporter.proof.parity import Report
from exporter.proof.proving import prove_model
from exporter.rows.blocks import draw_rows
from exporter.rows.draws import ranges_of
from exporter.rows.plan import FULL
from exporter.rows.sample import sample_inside
from exporter.truth.chain import find_gaps, find_layers
from exporter.truth.derived import derive
from exporter.truth.layers import model_of
from exporter.truth.measured import measure
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
from runtime.session import Session, available_providers

if TYPE_CHECKING:
    from exporter.proof.matrix import Watch
    from exporter.rows.plan import Plan
    from exporter.truth.truth import Truth
    from runtime.bundle.golden import Golden
    from runtime.bundle.reading import Bundle

# How much wider the golden rows' bounds may be than those that are found again: derived ones
# differ by float64 roundings, measured ones by what PyTorch loses on another CPU.
_WIDER = {"derived": 1.001, "measured": 16.0}


def verify_bundle(path: Path | str, *, plan: Plan = FULL, watch: Watch | None = None) -> Report:
    """Repeat the proof of a bundle.

    The oracle comes from the graph and the weights in ``model.pt2``, and so do PyTorch's own
    answers; the known rows are the golden rows.

    Args:
        path: the bundle's folder.
        plan: how much is run.
        watch: told after every step.

    Returns:
        The report, passed or not.

    Raises:
        ArtifactError: when the bundle is damaged, incomplete or of an unknown format.
        UsageError: when the plan asks for a contender or row that is not there.
        UnavailableError: when onnxruntime is missing or a provider does not really run.
        ParityError: when a file breaks the contract or the golden rows are not met.
    """
    path = Path(path)
    bundle = read_bundle(path)
    schema = bundle.manifest.schema
    for name in (TORCHSCRIPT_MODEL, PROGRAM_MODEL, PARITY):
        if name not in bundle.files:
            raise ArtifactError(f"{path} has no {name} to prove; export it again")
    truth = _truth_of(bundle)
    golden = load_golden(bundle.files[GOLDEN], schema, where=str(path / GOLDEN))
    _check_golden_bounds(golden, truth, where=str(path / GOLDEN))
    _check_promises(bundle)
    plan = plan.for_cost(truth.products)
    rows = draw_rows(schema, truth.label_of, golden.features, plan)
    files = ModelFiles(
        onnx=bundle.files[ONNX_MODEL],
        torchscript=bundle.files[TORCHSCRIPT_MODEL],
        program=bundle.files[PROGRAM_MODEL],
    )
    model = model_of(truth.layers, truth.gaps) if truth.layers else None
    contenders = every_contender(files, model, truth.layers, truth.gaps, where=path)
    report = prove_model(contenders, truth, rows, plan=plan, watch=watch)
    if report and plan.is_whole:
        _check_golden_rows(bundle, golden)
    return report


def _truth_of(bundle: Bundle) -> Truth:
    """Read from ``model.pt2`` what must be computed, as exactly as the proof says it is known."""
    where = bundle.path / PROGRAM_MODEL
    schema = bundle.manifest.schema
    program = load_program(bundle.files[PROGRAM_MODEL], where=str(where))
    proof = parse_record(
        bundle.files[PARITY], Report, known_format=FORMAT, where=str(bundle.path / PARITY)
    )
    if not proof.passed:
        raise ParityError(f"{bundle.path / PARITY} tells of a failed proof; export the model again")
    layers = find_layers(program)
    if proof.tolerance == "measured":
        if layers:
            raise ParityError(
                f"{bundle.path / PARITY} has a measured tolerance, though bounds can be derived "
                f"from {where}; export the model again"
            )
        ranges = ranges_of(schema)
        return measure(_Logits(program.module()), program, sample_inside(ranges), ranges)
    if layers is None:
        raise ParityError(
            f"{where} is no chain of Linear layers with ReLU between them, though {PARITY} has "
            "bounds that were derived from one; export the model again"
        )
    gaps = find_gaps(program)
    widths = (layers[0].weight.shape[1], layers[-1].weight.shape[0])
    if gaps:
        widths = (len(gaps.fills), widths[1])
    if widths != (schema.n_inputs, schema.n_classes):
        raise ParityError(
            f"{where} leads from {widths[0]} features to {widths[1]} classes, the schema has "
            f"{schema.n_inputs} and {schema.n_classes}; export the model again"
        )
    if (gaps.places if gaps else ()) != schema.imputed_inputs:
        raise ParityError(
            f"{where} fills other gaps than the schema has in "
            f"{[schema.inputs[at] for at in schema.imputed_inputs]}; export the model again"
        )
    return derive(layers, gaps)


class _Logits(torch.nn.Module):
    """The logits of a program, without its other outputs."""

    def __init__(self, program: torch.nn.Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.program(features)[2]
        return logits


def _check_promises(bundle: Bundle) -> None:
    """Compare what the manifest says of the model with the model itself."""
    manifest = bundle.manifest
    needed = check_contract(
        bundle.files[ONNX_MODEL],
        manifest.schema,
        name=manifest.model.name,
        where=str(bundle.path / ONNX_MODEL),
    )
    if needed != manifest.requires:
        raise ParityError(
            f"{bundle.path / MANIFEST} promises {manifest.requires}, the model needs {needed}; "
            "export the run again"
        )


def _check_golden_bounds(golden: Golden, truth: Truth, *, where: str) -> None:
    """Compare the golden rows' bounds with those of today: wide ones would let anything pass."""
    oracle = truth.ask(golden.features)
    most = _WIDER[truth.tolerance]
    for name in ("logits", "probabilities"):
        stored, bound = getattr(golden, f"{name}_bound"), getattr(oracle, name).error
        if (stored > most * bound).any():
            raise ParityError(
                f"{where} allows errors of {name} up to {stored.max():.3g}, "
                f"{bound.max():.3g} is right; export the model again"
            )
    if (oracle.decidable & ~golden.decidable).any() and truth.tolerance == "derived":
        raise ParityError(f"{where} has rows without a sure label; export the model again")


def _check_golden_rows(bundle: Bundle, golden: Golden) -> None:
    for provider in available_providers():
        model = bundle.files[ONNX_MODEL]
        session = Session(model, provider=provider, where=str(bundle.path / ONNX_MODEL))
        check_golden(session, golden, where=str(bundle.path))
