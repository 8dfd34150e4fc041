"""Check a bundle against the installed onnxruntime and against its own manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runtime.bundle.manifest import MANIFEST, MODEL_KEY, ONNX_MODEL, SCHEMA_KEY, model_signature
from runtime.errors import ArtifactError, UnavailableError
from runtime.onnx_file import read_versions
from runtime.printable import list_names
from runtime.session import onnxruntime_version

if TYPE_CHECKING:
    from runtime.bundle.reading import BundleFiles
    from runtime.session import Session

# Newest opset and IR version that each release loads, oldest first; measured with the exported
# graph, stamped with each version.
RELEASES: Final = (
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.22", 22, 10),
    ("1.23", 23, 11),
    ("1.31", 26, 13),
)


def check_onnxruntime(bundle: BundleFiles) -> None:
    """Refuse an onnxruntime that is older than the manifest requires."""
    required, installed = bundle.manifest.requires.onnxruntime, onnxruntime_version()
    if _release(installed) < _release(required):
        raise UnavailableError(
            f"{bundle.path} needs onnxruntime {required} or newer, {installed} is "
            "installed: upgrade it"
        )


def check_requirements(bundle: BundleFiles) -> None:
    """Compare the requirements in the manifest with those of the ONNX file."""
    declared = bundle.manifest.requires
    opset, ir = read_versions(bundle.files[ONNX_MODEL])
    needed = oldest_release(opset, ir)  # None: newer than every known release
    too_low = needed is not None and _release(declared.onnxruntime) < _release(needed)
    if (declared.opset, declared.ir) != (opset, ir) or too_low:
        raise ArtifactError(
            f"{bundle.path / MANIFEST} declares onnxruntime {declared.onnxruntime}, opset "
            f"{declared.opset} and IR {declared.ir} for a model that needs "
            f"{needed or 'a newer release'}, {opset} and {ir}; export the model again"
        )


def check_signature(bundle: BundleFiles, session: Session) -> None:
    """Compare the ONNX model's inputs, outputs and metadata with the manifest."""
    signature = bundle.manifest.signature
    declared = (
        tuple(tensor.name for tensor in signature.inputs),
        tuple(tensor.name for tensor in signature.outputs),
    )
    where = bundle.path / ONNX_MODEL
    if (session.input_names, session.output_names) != declared:
        raise ArtifactError(
            f"{where} has inputs {list_names(session.input_names)} and outputs "
            f"{list_names(session.output_names)}, the manifest declares {list_names(declared[0])} "
            f"and {list_names(declared[1])}; export the model again"
        )
    if signature != model_signature(bundle.manifest.schema):
        raise ArtifactError(
            f"{bundle.path / MANIFEST} declares another signature than its schema implies; "
            "export the model again"
        )
    metadata = session.metadata
    for key, expected, name in (
        (SCHEMA_KEY, bundle.manifest.schema.to_json(), "schema"),
        (MODEL_KEY, bundle.manifest.model.name, "name"),
    ):
        if metadata.get(key) != expected:
            raise ArtifactError(
                f"{where} has another {name} than the manifest; export the model again"
            )


def oldest_release(opset: int, ir: int) -> str | None:
    """Get the oldest onnxruntime that is known to load a file; None if there is none."""
    for release, newest_opset, newest_ir in RELEASES:
        if opset <= newest_opset and ir <= newest_ir:
            return release
    return None


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
