"""Predict matrices, data frames, rows as dicts, and files with a bundle."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

from runtime.errors import DataError, SchemaError, UsageError
from runtime.model import LoadedModel
from runtime.printable import list_first, printable, truncate
from runtime.schema.matrix import mark_missing, to_float32, usable_values
from runtime.scoring.named_columns import TAKEN, column_names, split_rows
from runtime.scoring.options import Options
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from runtime.bundle.reading import BundleFiles
    from runtime.choices import BadRows, Decimal, ProviderChoice
    from runtime.io.paths import Location
    from runtime.schema.classes import Proba
    from runtime.schema.features import Float32Matrix, Schema
    from runtime.scoring.prediction import Prediction
    from runtime.scoring.summary import Summary

Frame = TypeVar("Frame")
_MAX_CHARACTERS = 40  # of a name in a description
_OTEL = "opentelemetry.trace"


class Predictor(LoadedModel):
    """A loaded model that predicts matrices, data frames, rows as dicts, and files."""

    def __init__(
        self,
        bundle: str | os.PathLike[str] | Location | BundleFiles,
        *,
        provider: ProviderChoice = "auto",
        check: bool = True,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load a bundle and verify it.

        Args:
            bundle: its folder, a path or a URI such as ``s3://bucket/key``, or what
                ``exporter.export`` returned; files that ``read_bundle`` has verified are taken
                as they are.
            provider: ``cuda``, ``cpu``, or ``auto``, which takes CUDA when it is available.
            check: run the golden rows and compare them with the reference.
            key: PEM file of the public key that must have signed the bundle.

        Raises:
            UsageError: when ``provider`` is none of these, or ``key`` has no public key.
            ArtifactError: when the bundle is missing, damaged, inconsistent or of an unknown
                format, or with ``key`` not signed by it or altered since.
            UnavailableError: when onnxruntime is missing or too old for the bundle, or the
                provider, the object store or cryptography is not available.
            ParityError: when the error of a golden row exceeds its bound.
        """
        super().__init__(bundle, provider=provider, check=check, key=key)
        self._classes = np.array(self.schema.classes)
        self._is_numeric = self.schema.is_numeric and not self.schema.imputed_inputs

    def __repr__(self) -> str:
        model, schema = self.manifest.model, self.schema
        names = [_short(name) for name in schema.feature_names]
        classes = list_first([_short(name) for name in schema.classes], 5)
        return (
            f"Predictor({_short(model.name)} {model.version}: {list_first(names, 5)} → "
            f"{_short(schema.target)} ({classes}), on {self.provider})"
        )

    def _repr_html_(self) -> str:
        from runtime.cards import html_card

        model, schema = self.manifest.model, self.schema
        lines = [
            ("predicts", f"{schema.target}: {list_first(schema.classes)}"),
            ("from", list_first(schema.feature_names)),
            ("provider", f"{self.provider} ({self.session.reason})"),
            ("golden rows", "verified on this machine" if self.check else "not verified"),
            ("signature", self.signature),
        ]
        return html_card(f"Predictor {model.name} {model.version}", lines)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the columns of ``predict_proba``."""
        return self.schema.classes

    def predict(self, table: object) -> Prediction:
        """Predict the rows of a table in memory.

        Args:
            table: columns by name, in any order, others are ignored: a table of pandas, polars or
                pyarrow, a dict of ``(rows,)`` columns, a structured array, a list of dicts, or one
                row as a dict. Or a matrix ``(rows, n_inputs)`` of numbers in the order of
                ``schema.inputs``, categories one-hot encoded; float32 is used unchanged, other
                types are converted to float64 and rounded once; NaN is a missing value, and so is
                a number of ``fit --missing``.

        Returns:
            Labels and probabilities of the rows.

        Raises:
            UsageError: when ``table`` is none of these, or a lazy frame.
            SchemaError: when a column is missing, appears twice or has an unsuitable type, or a
                matrix has another number of columns.
            DataError: when columns differ in length, a value cannot be scored, or a prediction is
                not finite.
        """
        columns = split_rows(table)
        if (names := column_names(columns)) is not None:
            return self._predict_columns(cast("Mapping[str, npt.ArrayLike]", columns), names)
        matrix = _to_numbers(table)
        if matrix.ndim != 2 or matrix.shape[1] != self.schema.n_inputs:  # noqa: PLR2004 - rows and columns
            raise SchemaError(
                f"expected rows of {self.schema.n_inputs} features "
                f"({list_first(self.schema.inputs)}), got shape {matrix.shape}"
            )
        return self._predict_matrix(matrix)

    def predict_proba(self, table: object) -> npt.NDArray[np.float32]:
        """Predict the probability of every class.

        Args:
            table: as for ``predict``.

        Returns:
            ``(rows, classes)`` float32, in the order of ``classes``.

        Raises:
            UsageError: as ``predict``.
            SchemaError: as ``predict``.
            DataError: as ``predict``.
        """
        return self.predict(table).probabilities

    def predict_table(
        self,
        table: Frame,
        *,
        bad_rows: BadRows = "fail",
        proba: Proba = False,
        prefix: str = "",
        decimal: Decimal = ".",
        loose_header: bool = False,
    ) -> Frame:
        """Add predictions to a data frame, or to rows as dicts.

        Args:
            table: with named columns, as for ``predict``.
            bad_rows: ``fail`` refuses the table, ``null`` keeps bad rows with empty predictions
                and a ``reason``.
            proba: true or ``all`` adds a column with the probability of each class, ``positive``
                that of the positive one of two, the name of a class that of this one.
            prefix: of the new columns' names.
            decimal: the decimal sign of numbers in text.
            loose_header: match column names regardless of case, surrounding blanks and Unicode
                form.

        Returns:
            A table of the same type with the new columns ``label`` and ``probability``.

        Raises:
            UsageError: when an option is invalid, or the table has no named columns.
            SchemaError: when a feature's column is missing, or a new column exists already.
            DataError: when a column cannot be read.
            BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        """
        from runtime.scoring.dataframes import score_table

        reading = ReadOptions(decimal=decimal, loose_header=loose_header)
        options = Options(reading=reading, bad_rows=bad_rows, proba=proba, prefix=prefix)
        return score_table(self, table, options)

    def score_file(  # noqa: PLR0913 - as above
        self,
        source: Location | str,
        out: Location | str,
        *,
        bad_rows: BadRows = "fail",
        rejects: Location | str | None = None,
        columns: Sequence[str] | None = None,
        proba: Proba = False,
        prefix: str = "",
        format: str | None = None,  # noqa: A002 - as on the command line
        out_format: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        decimal: Decimal = ".",
        loose_header: bool = False,
        truth: str | None = None,
        drift: Location | str | None = None,
        force: bool = False,
        no_overwrite: bool = False,
        threads: int | None = None,
    ) -> Summary:
        """Score a file, a folder or a pattern, and write it with predictions.

        Shows a progress bar in a notebook, and nothing elsewhere.

        Args:
            source: the table, a folder of tables or a glob pattern, a path or a URI such as
                ``s3://bucket/key``; ``-`` is standard input.
            out: the output, a folder for several tables, replaced only when it is complete; ``-``
                is standard output.
            bad_rows: ``fail`` refuses the table, ``reject`` moves bad rows to a file, ``null``
                keeps them with empty predictions and a ``reason``.
            rejects: file for rejected rows; by default the output's name with ``.rejects.csv``.
            columns: names of the columns to write; None for all.
            proba: as for ``predict_table``.
            prefix: of the new columns' names.
            format: of the table, such as ``csv.gz``; None detects it.
            out_format: of the output; None detects it from the name, else it is the table's.
            delimiter: between fields of delimited text; None detects it from the header.
            encoding: of text; None detects it from the byte order mark, else UTF-8.
            decimal: the decimal sign of numbers in text.
            loose_header: match column names regardless of case, surrounding blanks and Unicode
                form.
            truth: column with the true class, for accuracy.
            drift: file for the report of drift, JSON.
            force: replace existing files that are not outputs of the same kind.
            no_overwrite: replace nothing: a file that exists, or is made meanwhile, stays.
            threads: blocks scored in parallel; None is one per processor, at most 8.

        Returns:
            Counts of records read, scored and rejected, times, and monitored statistics.

        Raises:
            UsageError: when options conflict, or an output is the input.
            DataError: when the table cannot be read or the output not written.
            SchemaError: when a feature's column is missing, or a new column exists already.
            BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        """
        from runtime.io.discovery import source_size
        from runtime.io.paths import is_folder_or_pattern, parse_location
        from runtime.notebook import rows_bar
        from runtime.scoring.batch import score_files
        from runtime.scoring.pipeline import score_file

        text: Any = {"format": format, "delimiter": delimiter, "encoding": encoding}  # is parsed
        paths: Any = {"out_format": out_format, "rejects": rejects, "drift": drift}  # likewise
        options = Options(
            reading=ReadOptions(**text, decimal=decimal, loose_header=loose_header),
            bad_rows=bad_rows,
            columns=_as_names(columns),
            proba=proba,
            prefix=prefix,
            truth=truth,
            force=force,
            no_overwrite=no_overwrite,
            threads=threads,
            **paths,
        )
        source, out = parse_location(source), parse_location(out)

        def score() -> Summary:
            with rows_bar("scoring", source_size(source)) as on_progress:
                if is_folder_or_pattern(source):
                    return score_files(self, source, out, options, on_progress=on_progress).total
                return score_file(self, source, out, options, on_progress)

        # A variable asks for telemetry, or the process has a tracer of its own.
        if any(name.startswith("OTEL_") for name in os.environ) or _OTEL in sys.modules:
            from runtime.scoring.tracing import traced_run

            return traced_run(score, _warn)
        return score()

    def _predict_columns(
        self, columns: Mapping[str, npt.ArrayLike], names: Sequence[str]
    ) -> Prediction:
        """Predict columns by name."""
        self.schema.bind(names, loose=None)
        if not self._is_numeric:
            return self._predict(_read_features(columns, self.schema))
        required = [_fill_masked(columns[name]) for name in self.schema.feature_names]
        if any(column.dtype.kind not in "biuf" for column in required):  # read as cells are
            return self._predict(_read_features(columns, self.schema))
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
        return self._predict_matrix(_to_numbers(np.column_stack(required)))

    def _predict_matrix(self, matrix: npt.NDArray[Any]) -> Prediction:
        if matrix.dtype != np.float32:
            matrix = to_float32(list(matrix.astype(np.float64).T))
        return self._predict(np.ascontiguousarray(matrix))

    def _predict(self, features: Float32Matrix) -> Prediction:
        features = mark_missing(features, self.schema.missing_numbers)
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
        from runtime.scoring.prediction import Prediction

        probability = np.take_along_axis(outputs.probabilities, outputs.label[:, None], axis=1)
        label = self._classes[outputs.label]
        return Prediction(label, probability[:, 0], outputs.probabilities, self.classes)


def _warn(problem: str) -> None:
    import warnings

    warnings.warn(problem, RuntimeWarning, stacklevel=2)


def _read_features(columns: object, schema: Schema) -> Float32Matrix:
    from runtime.scoring.dataframes import read_features

    return read_features(columns, schema)


def _as_names(columns: Sequence[str] | None) -> Any:  # noqa: ANN401 - Options refuses one text
    return columns if columns is None or isinstance(columns, str) else tuple(columns)


def _short(name: str) -> str:
    return truncate(printable(name), _MAX_CHARACTERS)


def _to_numbers(values: object) -> npt.NDArray[Any]:
    """Convert to real numbers; text is accepted in named columns only."""
    if not (hasattr(values, "__array__") or isinstance(values, list | tuple)):
        raise UsageError(
            f"a {type(values).__name__} cannot be predicted: give {TAKEN}, or a matrix of numbers; "
            "score_file takes files"
        )
    try:
        array = _fill_masked(cast("npt.ArrayLike", values))
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
