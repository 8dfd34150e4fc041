"""Load a bundle's model and verify it with the golden rows on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.bundle.compatibility import check_onnxruntime, check_requirements, check_signature
from runtime.bundle.golden import check_golden, load_golden
from runtime.bundle.manifest import GOLDEN, ONNX_MODEL
from runtime.bundle.reading import BundleFiles, read_bundle
from runtime.io.paths import parse_location
from runtime.session import Outputs, Session

if TYPE_CHECKING:
    import os

    from runtime.bundle.golden import GoldenCheck
    from runtime.choices import ProviderChoice
    from runtime.io.paths import Location
    from runtime.schema.features import Float32Matrix, Schema


class LoadedModel:
    """The verified model of a bundle; thread-safe."""

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Location | BundleFiles,
        *,
        provider: ProviderChoice = "auto",
        check: bool = True,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load a bundle and verify it; see ``Predictor``.

        Attributes are ``manifest``, ``session``, ``signature`` (``none``, ``unchecked`` or
        ``verified``) and ``check``, the result of the golden rows, None if they were skipped.
        Files that were read before are taken as they were verified then, without ``key``.
        """
        if isinstance(bundle, BundleFiles):
            found = bundle
        else:
            found = read_bundle(parse_location(bundle), key)
        check_onnxruntime(found)
        model = found.path / ONNX_MODEL
        self.session = Session(found.files[ONNX_MODEL], provider=provider, where=str(model))
        check_requirements(found)
        check_signature(found, self.session)
        self.manifest, self.signature = found.manifest, found.signature_state
        self.check = _check_golden_rows(found, self.session) if check else None

    @property
    def schema(self) -> Schema:
        """The model's features and classes."""
        return self.manifest.schema

    @property
    def provider(self) -> str:
        """The execution provider: ``cpu`` or ``cuda``."""
        return self.session.provider

    def run(self, features: Float32Matrix) -> Outputs:
        """Run the model on a batch.

        Args:
            features: ``(rows, n_inputs)`` float32 in the order of ``schema.inputs``, finite but
                for NaN in imputed inputs.

        Returns:
            Class indices, probabilities and logits.

        Raises:
            ArtifactError: when onnxruntime fails.
        """
        return self.session.run(features)


def _check_golden_rows(bundle: BundleFiles, session: Session) -> GoldenCheck:
    where = str(bundle.path / GOLDEN)
    golden = load_golden(bundle.files[GOLDEN], bundle.manifest.schema, where=where)
    return check_golden(session, golden, where=str(bundle.path))
