"""Load a bundle's model and verify it with the golden rows on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from runtime.bundle.compatibility import check_onnxruntime, check_requirements, check_signature
from runtime.bundle.golden import GoldenCheck, check_golden, load_golden
from runtime.bundle.manifest import GOLDEN, ONNX_MODEL, Manifest
from runtime.bundle.reading import read_bundle
from runtime.session import Outputs, Session

if TYPE_CHECKING:
    from runtime.bundle.reading import Bundle
    from runtime.choices import ProviderChoice
    from runtime.schema.features import Float32Matrix, Schema


class LoadedModel:
    """The verified model of a bundle; thread-safe."""

    def __init__(
        self, manifest: Manifest, session: Session, check: GoldenCheck | None = None
    ) -> None:
        """Create a model from its parts; see ``open``.

        Args:
            manifest: of the bundle.
            session: of the bundle's ONNX model.
            check: result of the golden rows; None if they were skipped.
        """
        self.manifest = manifest
        self.session = session
        self.check = check

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        provider: ProviderChoice = "auto",
        check: bool = True,
    ) -> Self:
        """Load a bundle and verify it.

        Args:
            path: the bundle's folder.
            provider: ``cuda``, ``cpu``, or ``auto``, which takes CUDA when it is available.
            check: run the golden rows and compare them with the reference.

        Returns:
            The loaded model.

        Raises:
            UsageError: when ``provider`` is none of these.
            ArtifactError: when the bundle is missing, damaged, inconsistent or of an unknown
                format.
            UnavailableError: when onnxruntime is missing or too old for the bundle, or the
                provider is not available.
            ParityError: when the error of a golden row exceeds its bound.
        """
        return cls.load(read_bundle(Path(path)), provider=provider, check=check)

    @classmethod
    def load(cls, bundle: Bundle, *, provider: ProviderChoice = "auto", check: bool = True) -> Self:
        """Load a bundle that was read, and verify it.

        Args:
            bundle: with at least the model and the golden rows.
            provider: as in ``open``.
            check: as in ``open``.

        Returns:
            The loaded model.

        Raises:
            UsageError: as in ``open``.
            ArtifactError: when the bundle is inconsistent.
            UnavailableError: as in ``open``.
            ParityError: as in ``open``.
        """
        check_onnxruntime(bundle)
        session = Session(
            bundle.files[ONNX_MODEL], provider=provider, where=str(bundle.path / ONNX_MODEL)
        )
        check_requirements(bundle)
        check_signature(bundle, session)
        checked = _check_golden_rows(bundle, session) if check else None
        return cls(bundle.manifest, session, checked)

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


def _check_golden_rows(bundle: Bundle, session: Session) -> GoldenCheck:
    where = str(bundle.path / GOLDEN)
    golden = load_golden(bundle.files[GOLDEN], bundle.manifest.schema, where=where)
    return check_golden(session, golden, where=str(bundle.path))
