"""The exporter: turn a run into a bundle that carries a proof of what it computes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.export import Exported, export_model, export_run
    from exporter.proof.parity import Report
    from exporter.verify import verify_bundle

__all__ = ["Exported", "Report", "export_model", "export_run", "verify_bundle"]

_HOME = {
    "Exported": "exporter.export",
    "Report": "exporter.proof.parity",
    "export_model": "exporter.export",
    "export_run": "exporter.export",
    "verify_bundle": "exporter.verify",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import exporter`` loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
