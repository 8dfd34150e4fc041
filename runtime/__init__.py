"""The torch-free runtime: predict matrices, tables and files with a verified bundle."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.predictor import Prediction, Predictor
    from runtime.schema.features import Feature, Schema
    from runtime.scorer.scorer import Scorer
    from runtime.scorer.summaries import PartialSummary
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import score_file
    from runtime.scoring.summary import Summary
    from runtime.tables.options import ReadOptions

__all__ = [
    "Feature",
    "Options",
    "PartialSummary",
    "Prediction",
    "Predictor",
    "ReadOptions",
    "Schema",
    "Scorer",
    "Summary",
    "score_file",
]

_MODULES = {
    "Feature": "runtime.schema.features",
    "Options": "runtime.scoring.options",
    "PartialSummary": "runtime.scorer.summaries",
    "Prediction": "runtime.predictor",
    "Predictor": "runtime.predictor",
    "ReadOptions": "runtime.tables.options",
    "Schema": "runtime.schema.features",
    "Scorer": "runtime.scorer.scorer",
    "Summary": "runtime.scoring.summary",
    "score_file": "runtime.scoring.pipeline",
}


def __getattr__(name: str) -> object:
    """Import a public name on first use, so that ``import runtime`` stays fast."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
