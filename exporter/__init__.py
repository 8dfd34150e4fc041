"""The exporter: turn a trained model into a bundle with a proof of parity."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.export import Exported, export_model, export_run
    from exporter.parity.report import Report
    from exporter.verify import verify_bundle

__all__ = ["Exported", "Report", "export_model", "export_run", "verify_bundle"]

_MODULES = {
    "Exported": "exporter.export",
    "Report": "exporter.parity.report",
    "export_model": "exporter.export",
    "export_run": "exporter.export",
    "verify_bundle": "exporter.verify",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that ``import exporter`` does not import torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
