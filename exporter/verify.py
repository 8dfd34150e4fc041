"""The proof again, on this machine, from a bundle alone.

In: a bundle folder. Out: the report of the whole matrix. Raises ``ArtifactError`` for a damaged
bundle and ``ParityError`` where a file breaks the contract before anything is run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.formats.model_files import ModelFiles, prove_files
from exporter.formats.onnx_model import check_contract
from exporter.formats.torchscript import load_torchscript
from exporter.rows.blocks import draw_rows
from exporter.rows.boundary import label_by
from exporter.rows.plan import FULL
from exporter.truth.layers import layers_from_state
from runtime.bundle import read_bundle
from runtime.errors import ArtifactError, ParityError
from runtime.golden import check_golden, load_golden
from runtime.manifest import GOLDEN, MANIFEST, ONNX_MODEL, PROGRAM_MODEL, TORCHSCRIPT_MODEL
from runtime.session import Session, present_providers

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.proof.matrix import Watch
    from exporter.proof.parity import Report
    from exporter.rows.plan import Plan
    from runtime.bundle import Bundle
    from runtime.golden import Golden


def verify_bundle(path: Path, *, plan: Plan = FULL, watch: Watch | None = None) -> Report:
    """Repeat the proof of a bundle.

    The oracle and PyTorch's own answers come from the parameters in the TorchScript file, the
    known rows from the golden rows.

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
    bundle = read_bundle(path)
    manifest = bundle.manifest
    for name in (TORCHSCRIPT_MODEL, PROGRAM_MODEL):
        if name not in bundle.files:
            raise ArtifactError(f"{path} has no {name} to prove; export it again")
    where = str(path / TORCHSCRIPT_MODEL)
    module = load_torchscript(bundle.files[TORCHSCRIPT_MODEL], where=where)
    layers = layers_from_state(module.state_dict(), manifest.schema, where=where)
    golden = load_golden(bundle.files[GOLDEN], manifest.schema, where=str(path / GOLDEN))
    _check_promises(bundle)
    plan = plan.for_layers(layers)
    rows = draw_rows(manifest.schema, label_by(layers), golden.features, plan)
    files = ModelFiles(
        onnx=bundle.files[ONNX_MODEL],
        torchscript=bundle.files[TORCHSCRIPT_MODEL],
        program=bundle.files[PROGRAM_MODEL],
    )
    report = prove_files(files, layers, rows, plan=plan, watch=watch, where=path)
    if report and plan.is_whole:
        _check_golden_rows(bundle, golden)
    return report


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


def _check_golden_rows(bundle: Bundle, golden: Golden) -> None:
    for provider in present_providers():
        model = bundle.files[ONNX_MODEL]
        session = Session(model, provider=provider, where=str(bundle.path / ONNX_MODEL))
        check_golden(session, golden, where=str(bundle.path))
