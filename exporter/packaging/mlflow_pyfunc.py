"""MLflow's python_function of a bundle.

``exporter package --to mlflow`` copies this file and ``runtime`` beside the bundle, so that the
model loads where onnxferry is not installed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from runtime.errors import DataError, OnnxferryError, UsageError
from runtime.model import LoadedModel
from runtime.scoring.columns import PredictionColumns
from runtime.scoring.dataframes import score_table
from runtime.scoring.options import Options
from runtime.surfaces import option, request_surface

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.schema.features import Schema

ADDED: Final = ("label", "probability")
_PREFIX: Final = "predicted_"


def output_prefix(schema: Schema) -> str:
    """Return the prefix of the new columns: none, unless a feature has the name of one."""
    added = PredictionColumns(schema, (), prefix="", proba=True, keep_bad=True).names
    prefix = ""
    while any(prefix + name in schema.feature_names for name in added):
        prefix += _PREFIX
    return prefix


class BundleModel:
    """What ``mlflow.pyfunc.load_model`` calls."""

    def __init__(self, path: str, config: Mapping[str, str]) -> None:
        """Open the bundle; its files, golden rows and with a key its signature are verified.

        Args:
            path: its folder.
            config: ``key`` is the PEM file of the public key that must have signed the bundle, else
                ``ONNXFERRY_KEY`` of the environment; ``signed_by`` the fingerprint of the one with
                which it was packaged, whose package is not loaded without a key.
        """
        key = config.get("key") or os.environ.get("ONNXFERRY_KEY") or None
        with request_surface("mlflow"):
            if config.get("signed_by") and not key:
                raise UsageError(
                    "the package demands the public key of its signer (SHA-256 of its file "
                    f"{config['signed_by'][:12]}…): give {option('key', blank='FILE')}, or set "
                    "ONNXFERRY_KEY to the file"
                )
            self._model = LoadedModel(path, provider="auto", key=key)
        self._prefix = output_prefix(self._model.schema)

    def predict(self, model_input: Any, params: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401 - pandas is not ours to import
        """Predict a data frame of pandas by its column names.

        Args:
            model_input: a column a feature; those of gaps may be missing.
            params: ``bad_rows``, which is ``fail`` or ``null``, and ``proba``.

        Returns:
            A data frame with the same index: ``label``, ``probability``, with ``proba`` one
            column a class, and with ``null`` the ``reason`` of bad rows, whose label is empty and
            whose probabilities are NaN.

        Raises:
            MlflowException: when rows cannot be scored, or a parameter is wrong; MLflow's server
                answers with its message.
        """
        try:
            with request_surface("mlflow"):
                return self._predict(model_input, params or {})
        except (DataError, UsageError) as exc:
            raise _translate(exc) from exc

    def _predict(self, model_input: Any, params: Mapping[str, Any]) -> Any:  # noqa: ANN401 - likewise
        options = Options(
            bad_rows=params.get("bad_rows", "fail"),
            proba=params.get("proba", False),
            prefix=self._prefix,
        )
        names = self._model.schema.feature_names
        gaps = {name: None for name in names if name not in model_input.columns}
        scored = score_table(self._model, model_input.assign(**gaps), options)
        added = scored[[name for name in scored.columns if name not in names]]
        return _fill_texts(added, self._prefix) if options.bad_rows == "null" else added


def _fill_texts(frame: Any, prefix: str) -> Any:  # noqa: ANN401 - pandas is not ours to import
    """Write empty texts for missing ones, of which MLflow makes the text "nan" in Spark."""
    texts = {name: frame[name].astype(object) for name in (f"{prefix}label", f"{prefix}reason")}
    return frame.assign(**{name: one.where(one.notna(), "") for name, one in texts.items()})


def _translate(error: OnnxferryError) -> Exception:
    from mlflow.exceptions import MlflowException

    translated: Exception = MlflowException.invalid_parameter_value(str(error))
    return translated


def _load_pyfunc(path: str, model_config: Mapping[str, str] | None = None) -> BundleModel:
    """Load the model; MLflow's names for this function and for its configuration."""
    return BundleModel(path, model_config or {})
