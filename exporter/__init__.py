"""The exporter: turn a trained model into a bundle with a proof of parity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from exporter.bundling import Bundle, export, export_model
    from exporter.parity.report import Report
    from exporter.verify import verify_bundle

    __version__: str

__all__ = ["Bundle", "Report", "export", "export_model", "verify_bundle"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Bundle": "exporter.bundling",
        "Report": "exporter.parity.report",
        "export": "exporter.bundling",
        "export_model": "exporter.bundling",
        "verify_bundle": "exporter.verify",
    },
)
