"""The torch-free runtime: score files and matrices with a proven bundle, through onnxruntime."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.predictor import Prediction, Predictor
    from runtime.schema.features import Feature, Schema
    from runtime.scoring.options import Options
    from runtime.scoring.pipeline import score_file
    from runtime.scoring.summary import Summary
    from runtime.tables.options import ReadOptions

__all__ = [
    "Feature",
    "Options",
    "Prediction",
    "Predictor",
    "ReadOptions",
    "Schema",
    "Summary",
    "score_file",
]

_HOME = {
    "Feature": "runtime.schema.features",
    "Options": "runtime.scoring.options",
    "Prediction": "runtime.predictor",
    "Predictor": "runtime.predictor",
    "ReadOptions": "runtime.tables.options",
    "Schema": "runtime.schema.features",
    "Summary": "runtime.scoring.summary",
    "score_file": "runtime.scoring.pipeline",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import runtime`` costs nothing."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
