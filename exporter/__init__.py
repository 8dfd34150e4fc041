"""The exporter: turn a trained model into a bundle with a proof of parity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from exporter.bundling import Bundle, export, export_model
    from exporter.parity.report import Report
    from exporter.signing import SignedBundle, sign_bundle
    from exporter.verify import verify_bundle

    __version__: str

__all__ = [
    "Bundle",
    "Report",
    "SignedBundle",
    "export",
    "export_model",
    "sign_bundle",
    "verify_bundle",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Bundle": "exporter.bundling",
        "Report": "exporter.parity.report",
        "SignedBundle": "exporter.signing",
        "export": "exporter.bundling",
        "export_model": "exporter.bundling",
        "sign_bundle": "exporter.signing",
        "verify_bundle": "exporter.verify",
    },
)
