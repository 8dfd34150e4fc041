"""The torch-free runtime: predict matrices, tables and files with a verified bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.errors import OnnxferryError
    from runtime.predictor import Predictor
    from runtime.schema.features import Feature, Schema
    from runtime.scoring.prediction import Prediction
    from runtime.scoring.summary import Summary

    __version__: str

__all__ = ["Feature", "OnnxferryError", "Prediction", "Predictor", "Schema", "Summary"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Feature": "runtime.schema.features",
        "OnnxferryError": "runtime.errors",
        "Prediction": "runtime.scoring.prediction",
        "Predictor": "runtime.predictor",
        "Schema": "runtime.schema.features",
        "Summary": "runtime.scoring.summary",
    },
)
