"""Open a bundle and verify on this machine that it computes what was proven at export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

from runtime.bundle.compatibility import check_engine, check_requirements, check_signature
from runtime.bundle.golden import GoldenCheck, check_golden, load_golden
from runtime.bundle.manifest import GOLDEN, ONNX_MODEL, Manifest
from runtime.bundle.reading import read_bundle
from runtime.session import Outputs, Session

if TYPE_CHECKING:
    from runtime.bundle.reading import Bundle
    from runtime.choices import ProviderChoice
    from runtime.schema.features import Float32Matrix, Schema


class LoadedModel:
    """A bundle whose model is loaded and verified; safe to use from several threads."""

    def __init__(
        self, manifest: Manifest, session: Session, check: GoldenCheck | None = None
    ) -> None:
        """Put together what ``open`` has read.

        Args:
            manifest: what the bundle says of itself.
            session: the model, loaded.
            check: result of the golden rows; None when they were not run.
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
        """Open a bundle.

        Args:
            path: the bundle's folder.
            provider: ``cuda`` and ``cpu`` mean just that; ``auto`` takes CUDA where it works.
            check: run the golden rows first.

        Returns:
            A predictor whose model computes here what it computed at export.

        Raises:
            ArtifactError: when the bundle is damaged or of an unknown format.
            UnavailableError: when the engine or the provider is not available.
            ParityError: when a golden row leaves its bound.
        """
        bundle = read_bundle(Path(path))
        check_engine(bundle)
        session = Session(
            bundle.files[ONNX_MODEL], provider=provider, where=str(bundle.path / ONNX_MODEL)
        )
        check_requirements(bundle)
        check_signature(bundle, session)
        checked = _check_golden_rows(bundle, session) if check else None
        return cls(bundle.manifest, session, checked)

    @property
    def schema(self) -> Schema:
        """The columns the model reads and the classes it answers."""
        return self.manifest.schema

    @property
    def provider(self) -> str:
        """What the model runs on: ``cpu`` or ``cuda``."""
        return self.session.provider

    def run(self, features: Float32Matrix) -> Outputs:
        """Compute the model's raw outputs.

        Args:
            features: ``(rows, n_inputs)`` float32, finite, columns in the order of the schema's
                inputs.

        Returns:
            Labels as positions, probabilities and logits.
        """
        return self.session.run(features)


def _check_golden_rows(bundle: Bundle, session: Session) -> GoldenCheck:
    where = str(bundle.path / GOLDEN)
    golden = load_golden(bundle.files[GOLDEN], bundle.manifest.schema, where=where)
    return check_golden(session, golden, where=str(bundle.path))
