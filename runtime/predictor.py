"""Predict matrices, columns by name, data frames and files with a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from runtime.errors import DataError, SchemaError, UsageError
from runtime.model import LoadedModel
from runtime.printable import list_first
from runtime.schema.matrix import to_float32, usable_values
from runtime.scoring.named_columns import column_names
from runtime.scoring.options import DEFAULTS
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.bundle.golden import GoldenCheck
    from runtime.bundle.manifest import Manifest
    from runtime.schema.features import Float32Matrix
    from runtime.scoring.options import Options
    from runtime.scoring.summary import Summary
    from runtime.session import Session

Frame = TypeVar("Frame")


class Prediction(Value, frozen=True):
    """Predictions for a batch of rows.

    Attributes:
        label: ``(rows,)`` str, name of the predicted class.
        probability: ``(rows,)`` float32, of that label, 0 to 1.
        probabilities: ``(rows, classes)`` float32, in the order of the schema's classes.
    """

    label: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


class Predictor(LoadedModel):
    """A loaded model that predicts matrices, columns by name, data frames and files."""

    def __init__(
        self, manifest: Manifest, session: Session, check: GoldenCheck | None = None
    ) -> None:
        """Create a predictor from its parts; see ``open``.

        Args:
            manifest: of the bundle.
            session: of the bundle's ONNX model.
            check: result of the golden rows; None if they were skipped.
        """
        super().__init__(manifest, session, check)
        self._classes = np.array(manifest.schema.classes)
        self._is_numeric = manifest.schema.is_numeric and not manifest.schema.imputed_inputs

    def predict(self, features: npt.ArrayLike) -> Prediction:
        """Predict a matrix in the order of ``schema.inputs``, or a data frame by its column names.

        Args:
            features: ``(rows, n_inputs)`` numbers, categories one-hot encoded; float32 is used
                unchanged, other types are converted to float64 and rounded once. Data frames are
                matched by column name, as in ``predict_columns``.

        Returns:
            Labels and probabilities of the rows.

        Raises:
            SchemaError: when the matrix has another number of columns, or a column is missing.
            DataError: when a value is not a number, is NaN in an input that is not imputed, or is
                infinite as float32, or a prediction is not finite.
            UsageError: when ``features`` is a lazy frame.
        """
        if column_names(features) is not None:
            return self.predict_columns(cast("Mapping[str, npt.ArrayLike]", features))
        matrix = _to_numbers(features)
        if matrix.ndim != 2 or matrix.shape[1] != self.schema.n_inputs:  # noqa: PLR2004 - rows and columns
            raise SchemaError(
                f"expected rows of {self.schema.n_inputs} features "
                f"({list_first(self.schema.inputs)}), got shape {matrix.shape}"
            )
        if matrix.dtype != np.float32:
            matrix = to_float32(list(matrix.astype(np.float64).T))
        return self._predict(np.ascontiguousarray(matrix))

    def predict_columns(self, columns: Mapping[str, npt.ArrayLike]) -> Prediction:
        """Predict columns by name, in any order; other columns are ignored.

        Args:
            columns: a dict of ``(rows,)`` columns, a pyarrow table, a pandas or polars data frame,
                or a numpy structured array; numbers, categories as str, dates in ISO 8601 or as
                Arrow types.

        Returns:
            Labels and probabilities of the rows.

        Raises:
            UsageError: when the object has no named columns, or is a lazy frame.
            SchemaError: when a column is missing, appears twice or has an unsuitable type.
            DataError: when columns differ in length, a value cannot be scored, or a prediction is
                not finite.
        """
        names = column_names(columns)
        if names is None:
            raise UsageError(f"a {type(columns).__name__} has no named columns; see predict")
        self.schema.bind(names, loose=None)
        if not self._is_numeric:
            from runtime.scoring.dataframes import read_features

            return self._predict(read_features(columns, self.schema))
        required = [_fill_masked(columns[name]) for name in self.schema.feature_names]
        for name, column in zip(self.schema.feature_names, required, strict=True):
            if column.dtype == np.bool_:
                raise SchemaError(
                    f"column {name!r} has type bool, which is not a number; convert it to 1 and 0, "
                    "or train with booleans"
                )
        if len({column.shape for column in required}) != 1 or required[0].ndim != 1:
            shapes = [f"{name!r}: {np.shape(columns[name])}" for name in self.schema.feature_names]
            raise DataError(
                f"columns must be one-dimensional and equally long, got {list_first(shapes)}"
            )
        return self.predict(np.column_stack(required))

    def predict_table(self, table: Frame, options: Options | None = None) -> Frame:
        """Add predictions to a data frame.

        Args:
            table: a pyarrow table, a polars or pandas data frame, a numpy structured array, or a
                dict of columns.
            options: policy for bad rows, columns to add; the options of files do not apply.

        Returns:
            A table of the same type with the new columns ``label`` and ``probability``.

        Raises:
            UsageError: when an option applies to files only, or the table has no named columns.
            SchemaError: when a feature's column is missing, or a new column exists already.
            DataError: when a column cannot be read.
            BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        """
        from runtime.scoring.dataframes import score_table

        return score_table(self, table, options or DEFAULTS)

    def score_file(
        self, source: Path | str, out: Path | str, options: Options | None = None
    ) -> Summary:
        """Score a file and write it with predictions; see ``runtime.score_file``.

        Args:
            source: the table; ``-`` is standard input.
            out: the output, replaced only when it is complete; ``-`` is standard output.
            options: policy for bad rows, columns to add, formats.

        Returns:
            Counts of records read, scored and rejected.

        Raises:
            UsageError: when options conflict, or an output is the input.
            DataError: when the table cannot be read or the output not written.
            SchemaError: when a feature's column is missing, or a new column exists already.
            BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        """
        from runtime.scoring.pipeline import score_file

        return score_file(self, source, out, options or DEFAULTS)

    def _predict(self, features: Float32Matrix) -> Prediction:
        usable = usable_values(self.schema, features)
        if not usable.all():
            row, column = (int(index) for index in np.argwhere(~usable)[0])
            raise DataError(
                f"row {row}, column {self.schema.inputs[column]!r}: "
                f"{features[row, column]} cannot be scored; remove or fill such rows first"
            )
        outputs = self.run(features)
        finite = outputs.finite_rows()
        if not finite.all():
            row = int(np.argmin(finite))
            raise DataError(
                f"row {row}: the model has no finite prediction for {features[row].tolist()}; "
                "remove such rows first"
            )
        probability = np.take_along_axis(outputs.probabilities, outputs.label[:, None], axis=1)
        return Prediction(self._classes[outputs.label], probability[:, 0], outputs.probabilities)


def _to_numbers(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Convert to real numbers; text is accepted in named columns only."""
    try:
        array = _fill_masked(values)
        if array.dtype == np.object_:
            array = np.asarray(array.tolist())
    except ValueError as exc:
        raise DataError(f"the features are not a matrix: {exc}") from exc
    if array.dtype.kind not in "biuf":
        raise DataError(f"the features are not numbers (dtype {array.dtype})")
    return array


def _fill_masked(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Convert to an array with NaN for masked values."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf":
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values)
