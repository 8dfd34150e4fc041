"""What the page is made from.

In: a bundle's parts. Out: ``Evidence``. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.proof.parity import Report
    from exporter.source.candidate import Labelled
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Float32Matrix
    from runtime.session import Outputs


@dataclass(frozen=True)
class Evidence:
    """A bundle, its proof, and rows to show it on.

    Attributes:
        manifest: as stored, without the page itself among its files.
        report: the proof.
        answer: the model as it serves, from features ``(rows, n_features)`` float32 to its outputs.
        train: rows it was trained on; None where they are not known.
        test: rows it was tested on; None where they are not known.
    """

    manifest: Manifest
    report: Report
    answer: Callable[[Float32Matrix], Outputs]
    train: Labelled | None
    test: Labelled | None
