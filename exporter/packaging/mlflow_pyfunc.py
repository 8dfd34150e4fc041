"""MLflow's python_function of a bundle.

``exporter package --to mlflow`` copies this file and ``runtime`` beside the bundle, so that the
model loads where onnxferry is not installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from runtime.model import LoadedModel
from runtime.scoring.dataframes import score_table
from runtime.scoring.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.schema.features import Schema

ADDED: Final = ("label", "probability")
PREFIX: Final = "predicted_"  # where a feature has the name of a new column


def output_prefix(schema: Schema) -> str:
    """Return the prefix of the new columns: none, unless a feature has such a name."""
    return PREFIX if set(ADDED) & set(schema.feature_names) else ""


class BundleModel:
    """What ``mlflow.pyfunc.load_model`` calls."""

    def __init__(self, path: str) -> None:
        """Open the bundle; its files, golden rows and with a key its signature are verified."""
        key = os.environ.get("ONNXFERRY_KEY") or None  # as for the commands
        self._model = LoadedModel(path, provider="auto", key=key)
        self._prefix = output_prefix(self._model.schema)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - pandas is not ours to import
        """Predict a data frame of pandas by its column names.

        Args:
            model_input: a column a feature; those of gaps may be missing.
            params: ``bad_rows``, which is ``fail`` or ``null``, and ``proba``.

        Returns:
            A data frame with the same index: ``label``, ``probability``, with ``proba`` one
            column a class, and with ``null`` the ``reason`` of bad rows.
        """
        given = dict(params or {})
        options = Options(
            bad_rows=given.get("bad_rows", "fail"),
            proba=given.get("proba", False),
            prefix=self._prefix,
        )
        names = self._model.schema.feature_names
        gaps = {name: None for name in names if name not in model_input.columns}
        scored = score_table(self._model, model_input.assign(**gaps), options)
        return scored[[name for name in scored.columns if name not in names]]


def _load_pyfunc(path: str) -> BundleModel:
    """Load the model; MLflow's name for this function."""
    return BundleModel(path)
