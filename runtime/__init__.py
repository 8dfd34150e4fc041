"""The torch-free runtime: predict matrices, tables and files with a verified bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.errors import OnnxferryError
    from runtime.predictor import Predictor
    from runtime.schema.features import Feature, Schema
    from runtime.scorer.scorer import Scorer
    from runtime.scorer.summaries import PartialSummary
    from runtime.scoring.prediction import Prediction
    from runtime.scoring.summary import Summary

    __version__: str

__all__ = [
    "Feature",
    "OnnxferryError",
    "PartialSummary",
    "Prediction",
    "Predictor",
    "Schema",
    "Scorer",
    "Summary",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Feature": "runtime.schema.features",
        "OnnxferryError": "runtime.errors",
        "PartialSummary": "runtime.scorer.summaries",
        "Prediction": "runtime.scoring.prediction",
        "Predictor": "runtime.predictor",
        "Schema": "runtime.schema.features",
        "Scorer": "runtime.scorer.scorer",
        "Summary": "runtime.scoring.summary",
    },
)
