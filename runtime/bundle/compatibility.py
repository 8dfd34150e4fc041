"""Check a bundle against the engine that runs it and against its own manifest."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from runtime.bundle.manifest import MANIFEST, MODEL_KEY, ONNX_MODEL, SCHEMA_KEY, model_signature
from runtime.errors import ArtifactError, UnavailableError
from runtime.onnx_file import read_versions
from runtime.session import onnxruntime_version

if TYPE_CHECKING:
    from runtime.bundle.reading import Bundle
    from runtime.session import Session


def check_onnxruntime(bundle: Bundle) -> None:
    """Compare the engine here with what the bundle needs by its word."""
    promised, found = bundle.manifest.requires, onnxruntime_version()
    if _release(found) < _release(promised.onnxruntime):
        raise UnavailableError(
            f"{bundle.path} needs onnxruntime {promised.onnxruntime} or newer, {found} is "
            "installed: upgrade it"
        )


def check_requirements(bundle: Bundle) -> None:
    """Compare what the manifest says that the model needs with the model itself."""
    promised = bundle.manifest.requires
    opset, ir = read_versions(bundle.files[ONNX_MODEL])
    needed = oldest_release(opset, ir)  # None: a model of tomorrow, of which nothing is known
    too_low = needed is not None and _release(promised.onnxruntime) < _release(needed)
    if (promised.opset, promised.ir) != (opset, ir) or too_low:
        raise ArtifactError(
            f"{bundle.path / MANIFEST} promises onnxruntime {promised.onnxruntime}, opset "
            f"{promised.opset} and IR {promised.ir} for a model that needs "
            f"{needed or 'a newer one'}, {opset} and {ir}; export the model again"
        )


def check_signature(bundle: Bundle, session: Session) -> None:
    """Compare what the model says of itself with what the manifest says of it."""
    signature = bundle.manifest.signature
    promised = (
        tuple(tensor.name for tensor in signature.inputs),
        tuple(tensor.name for tensor in signature.outputs),
    )
    where = bundle.path / ONNX_MODEL
    if (session.input_names, session.output_names) != promised:
        raise ArtifactError(
            f"{where} has inputs {session.input_names} and outputs {session.output_names}, "
            f"the manifest promises {promised[0]} and {promised[1]}; export the model again"
        )
    if signature != model_signature(bundle.manifest.schema):
        raise ArtifactError(
            f"{bundle.path / MANIFEST} promises another signature than its schema's; "
            "export the model again"
        )
    metadata = session.metadata
    for key, said, what in (
        (SCHEMA_KEY, bundle.manifest.schema.to_json(), "schema"),
        (MODEL_KEY, bundle.manifest.model.name, "name"),
    ):
        if metadata.get(key) != said:
            raise ArtifactError(
                f"{where} carries another {what} than the manifest; export the model again"
            )


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


# Releases with the newest opset and IR version that each loads, oldest first. Measured: the
# exported graph, stamped with each opset and IR version, loaded by each release.
RELEASES: Final = (
    ("1.17", 20, 9),
    ("1.18", 21, 10),
    ("1.22", 22, 10),
    ("1.23", 23, 11),
    ("1.31", 26, 13),
)


def oldest_release(opset: int, ir: int) -> str | None:
    """Name the oldest onnxruntime that is known to load a file."""
    for release, newest_opset, newest_ir in RELEASES:
        if opset <= newest_opset and ir <= newest_ir:
            return release
    return None
