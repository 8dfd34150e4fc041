"""Options of a package: references to what lies elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from exporter.packaging.names import check_image, kubernetes_name
from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.packaging.kinds import Kind
    from runtime.bundle.manifest import Model

_APPLIES: Final[Mapping[str, frozenset[Kind]]] = {
    "base": frozenset({"oci"}),
    "claim": frozenset({"trainjob"}),
    "data": frozenset({"trainjob"}),
    "image": frozenset({"kserve", "kubernetes", "trainjob"}),
    "nodes": frozenset({"trainjob"}),
    "storage_uri": frozenset({"kserve"}),
}


@dataclass(frozen=True)
class PackageOptions:
    """References in the files of a package.

    Attributes:
        image: the image with onnxferry that the platform runs, as ``--to image`` describes it;
            None for NAME:VERSION of the model.
        storage_uri: where KServe fetches the bundle's files from.
        base: OCI image layout with the image that ``--to oci`` builds upon; None for none.
        claim: PersistentVolumeClaim with the data of ``--to trainjob``, where the run is written.
        data: the table of ``--to trainjob``: a path in the claim, or a URI.
        nodes: pods of ``--to trainjob``; None for one.
    """

    image: str | None = None
    storage_uri: str | None = None
    base: Path | None = None
    claim: str | None = None
    data: str | None = None
    nodes: int | None = None

    def check_applies(self, kind: Kind) -> None:
        """Refuse an option that the files of a platform do not use."""
        for name, kinds in _APPLIES.items():
            if getattr(self, name) is not None and kind not in kinds:
                option = f"--{name.replace('_', '-')}"
                raise UsageError(
                    f"{option} is for --to {' and '.join(sorted(kinds))}; leave it out"
                )

    def image_for(self, model: Model) -> str:
        """Return the image to run; raises ``UsageError``."""
        if self.image is not None:
            return check_image(self.image)
        return default_image(model)


def default_image(model: Model) -> str:
    """Name the image of a model."""
    return f"{kubernetes_name(model.name)}:{model.version}"
