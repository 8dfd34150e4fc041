"""Predict matrices, columns by name, tables in memory and files with a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from runtime.errors import DataError, SchemaError, UsageError
from runtime.model import LoadedModel
from runtime.schema.matrix import to_float32, usable_values
from runtime.scoring.named_columns import names_of
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
    """Answers for a batch of rows.

    Attributes:
        label: ``(rows,)`` str, the class name.
        probability: ``(rows,)`` float32, of that label, 0 to 1.
        probabilities: ``(rows, classes)`` float32, in the order of the schema's classes.
    """

    label: npt.NDArray[np.str_]
    probability: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


class Predictor(LoadedModel):
    """A loaded model that takes matrices, columns by name, tables and files."""

    def __init__(
        self, manifest: Manifest, session: Session, check: GoldenCheck | None = None
    ) -> None:
        """Take what ``open`` has read; see ``LoadedModel``."""
        super().__init__(manifest, session, check)
        self._classes = np.array(manifest.schema.classes)
        self._is_plain = manifest.schema.is_numeric and not manifest.schema.gaps

    def predict(self, features: npt.ArrayLike) -> Prediction:
        """Predict a matrix of the schema's inputs in their order, or a table by its names.

        Args:
            features: ``(rows, n_inputs)`` numbers, categories encoded; float32 is used as it is,
                anything else is read as float64 and rounded once. A table that names its columns
                is bound by these names, as in ``predict_columns``.

        Returns:
            Labels and probabilities of the rows.

        Raises:
            SchemaError: when the matrix has another width, or the table lacks a column.
            DataError: when a value is no number, NaN, infinite or beyond float32.
        """
        if names_of(features) is not None:
            return self.predict_columns(cast("Mapping[str, npt.ArrayLike]", features))
        matrix = _as_numbers(features)
        if matrix.ndim != 2 or matrix.shape[1] != self.schema.n_inputs:  # noqa: PLR2004 - rows and columns
            raise SchemaError(
                f"expected rows of {self.schema.n_inputs} features "
                f"({', '.join(self.schema.inputs)}), got shape {matrix.shape}"
            )
        if matrix.dtype != np.float32:
            matrix = to_float32(list(matrix.astype(np.float64).T))
        return self._answer(np.ascontiguousarray(matrix))

    def predict_columns(self, columns: Mapping[str, npt.ArrayLike]) -> Prediction:
        """Predict named columns; order does not matter, further columns are ignored.

        Args:
            columns: ``(rows,)`` numbers or categories by column name: a dict, or a table of
                pyarrow, pandas, polars or numpy.

        Returns:
            Labels and probabilities of the rows.

        Raises:
            SchemaError: when a column is missing.
            DataError: when columns differ in length, or a value is no number, NaN, infinite or
                beyond float32.
        """
        names = names_of(columns)
        if names is None:
            raise UsageError(f"a {type(columns).__name__} has no named columns; see predict")
        self.schema.bind(names)
        if not self._is_plain:
            from runtime.scoring.dataframes import read_features

            return self._answer(read_features(columns, self.schema))
        wanted = [_unmasked(columns[name]) for name in self.schema.feature_names]
        if len({column.shape for column in wanted}) != 1 or wanted[0].ndim != 1:
            shapes = {name: np.shape(columns[name]) for name in self.schema.feature_names}
            raise DataError(f"columns must be one-dimensional and equally long, got {shapes}")
        return self.predict(np.column_stack(wanted))

    def predict_table(self, table: Frame, options: Options | None = None) -> Frame:
        """Score a table in memory; see ``runtime.scoring.dataframes.score_table``.

        Args:
            table: of pyarrow, polars, pandas or numpy with named columns, or a dict of columns.
            options: what to do with bad rows, which columns to add.

        Returns:
            The same kind of table with ``label`` and ``probability`` as new columns.
        """
        from runtime.scoring.dataframes import score_table

        return score_table(self, table, options or DEFAULTS)

    def score_file(
        self, source: Path | str, out: Path | str, options: Options | None = None
    ) -> Summary:
        """Score a file into another; see ``runtime.scoring.pipeline.score_file``.

        Args:
            source: the table; ``-`` is standard input.
            out: appears only when complete; ``-`` is standard output.
            options: what to do with bad rows, which columns to add.

        Returns:
            How many records were read, scored and rejected.
        """
        from runtime.scoring.pipeline import score_file

        return score_file(self, source, out, options or DEFAULTS)

    def _answer(self, features: Float32Matrix) -> Prediction:
        usable = usable_values(self.schema, features)
        if not usable.all():
            row, column = (int(at) for at in np.argwhere(~usable)[0])
            raise DataError(
                f"row {row}, column {self.schema.inputs[column]!r}: "
                f"{features[row, column]} cannot be scored; remove or fill such rows first"
            )
        outputs = self.run(features)
        answered = outputs.finite_rows()
        if not answered.all():
            row = int(np.argmin(answered))
            raise DataError(
                f"row {row}: the model has no finite answer for {features[row].tolist()}; "
                "remove such rows first"
            )
        chosen = np.take_along_axis(outputs.probabilities, outputs.label[:, None], axis=1)
        return Prediction(self._classes[outputs.label], chosen[:, 0], outputs.probabilities)


def _as_numbers(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Take what numpy understands as real numbers; text is for tables, with rules of their own."""
    try:
        array = _unmasked(values)
        if array.dtype == np.object_:
            array = np.asarray(array.tolist())
    except ValueError as exc:
        raise DataError(f"the features are no matrix: {exc}") from exc
    if array.dtype.kind not in "biuf":
        raise DataError(f"the features are no numbers (dtype {array.dtype})")
    return array


def _unmasked(values: npt.ArrayLike) -> npt.NDArray[Any]:
    """Read values as an array; masked ones are NaN, and so refused, not what is below the mask."""
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "biuf":
        return np.ma.filled(values.astype(np.float64), np.nan)
    return np.asarray(values)
