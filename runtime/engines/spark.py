"""Score data frames of Spark.

Rows pass through ``mapInArrow``: the plan knows the columns, Spark reads, repeats, distributes and
writes. Classic sessions and Spark Connect are used through the same methods of a data frame.
"""

from __future__ import annotations

import pickle
import time
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import pyarrow as pa

from runtime.errors import ArtifactError, SchemaError, UsageError, find_error
from runtime.scorer.schemas import struct_fields
from runtime.scorer.scorer import Scorer
from runtime.scorer.summaries import PartialSummary
from runtime.surfaces import advise
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pyspark.sql import DataFrame

    from runtime.io.paths import Location
    from runtime.scoring.summary import Summary

    # What ``mapInArrow`` calls once a partition.
    MapBatches = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

Frame = TypeVar("Frame", bound="DataFrame")

_PART: Final = "summary"  # the column of pickled summaries
_CASE_SENSITIVE: Final = "spark.sql.caseSensitive"


def score(df: Frame, bundle: Scorer | Location | str, *, archive: str | None = None) -> Frame:
    """Add predictions to the rows of a data frame, lazily.

    Rows, columns and values are those of ``Scorer``; types of the carried columns stay. Repeated
    and speculative tasks write what the first attempt would have written.

    Args:
        df: ``(rows, columns)``, of a classic session or of Spark Connect, with the features by
            name in any order.
        bundle: its folder, or a ``Scorer`` with options. The bundle travels with the function.
        archive: name of a copy of the bundle that Spark has unpacked for the workers, as by
            ``spark.addArtifacts("bundle.zip#NAME", archive=True)``; it is read there.

    Returns:
        The data frame with ``label``, ``probability`` and what the options add. Errors of the
        workers are raised by its actions; ``runtime.errors.find_error`` finds them.

    Raises:
        UsageError: when ``df`` is no data frame of Spark.
        SchemaError: when a feature's column is missing or of an unsuitable type, a new column
            exists already, or Spark has no form for a carried one outside of it.
        DataError: when columns have the same name.
        ArtifactError: when the bundle is missing, damaged or of an unknown format.
    """
    scorer, fields = _prepare(df, bundle, archive)
    plan = scorer.find_plan(fields)
    used = sorted({*plan.read, *plan.carried})
    _refuse_other_case([fields.names[index] for index in plan.carried], plan.added.names, df)
    names = tuple(fields.names[index] for index in used)
    _refuse_types([df.schema[index] for index in used])
    function = _ship(_ScoreRows(scorer, names, archive))
    scored = _select(df, used).mapInArrow(function, scorer.output_schema(df.schema))
    return cast("Frame", scored)


def summarize(
    df: DataFrame, bundle: Scorer | Location | str, *, archive: str | None = None
) -> Summary:
    """Count rows, bad rows by reason, values out of range, accuracy and drift of a data frame.

    This runs a job of its own, which scores the features again but transfers nothing else. Spark's
    accumulators count what was executed, repeated stages too; the summaries of this job travel as
    its rows, of which Spark delivers each once.

    Args:
        df: ``(rows, columns)``, what is given to ``score``, or what it has returned with all
            columns.
        bundle: as for ``score``; a ``Scorer`` with ``truth`` or ``drift`` counts these, too.
        archive: as for ``score``.

    Returns:
        The summary that ``runtime predict`` has for the same rows.

    Raises:
        UsageError: when ``df`` is no data frame of Spark.
        SchemaError: when a feature's column is missing or of an unsuitable type.
        BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
        OnnxferryError: other errors of the workers.
    """
    scorer, fields = _prepare(df, bundle, archive)
    scorer = scorer.without_columns()
    read = sorted(scorer.find_plan(fields).read)
    started = time.perf_counter()
    parts = _select(df, read).mapInArrow(
        _ship(_SummarizeRows(scorer, tuple(fields.names), tuple(read), archive)), f"{_PART} BINARY"
    )
    # One task merges them, so that the driver receives one row.
    merged = parts.repartition(1).mapInArrow(_ship(_MergeSummaries()), parts.schema)
    found = [pickle.loads(row[0]) for row in _collect(merged)]  # noqa: S301 - made by our tasks
    return scorer.summarize(found, seconds=time.perf_counter() - started)


def _prepare(
    df: DataFrame, bundle: Scorer | Location | str, archive: str | None
) -> tuple[Scorer, pa.Schema]:
    """Make the scorer, and get the columns with types of the same kind."""
    if not hasattr(df, "mapInArrow"):
        raise UsageError(
            f"a {type(df).__module__.partition('.')[0]} {type(df).__name__} is no data frame of "
            "Spark: give one of pyspark.sql, or score others with runtime.Scorer"
        )
    scorer = bundle if isinstance(bundle, Scorer) else Scorer(bundle, embed=archive is None)
    if archive is not None:
        scorer = scorer.at(Path(archive))
    return scorer, struct_fields(df.schema)


def _refuse_other_case(carried: Sequence[str], added: Sequence[str], df: DataFrame) -> None:
    """Refuse names that Spark takes for the same: it could neither select nor write them."""
    if str(df.sparkSession.conf.get(_CASE_SENSITIVE)).lower() == "true":
        return
    lower = {name.lower(): name for name in carried}
    for name in added:
        if name.lower() in lower:
            raise SchemaError(
                f"the data frame has a column {lower[name.lower()]!r}, and Spark does not tell it "
                f"from the new {name!r} ({_CASE_SENSITIVE} is false); "
                + advise("prefix", blank="TEXT", phrase="rename the new columns with {}")
            )


def _refuse_types(fields: Sequence[Any]) -> None:
    """Refuse columns that Spark does not pass to Python, such as intervals of months."""
    from pyspark.errors import PySparkTypeError
    from pyspark.sql.pandas.types import to_arrow_type

    for field in fields:
        try:
            to_arrow_type(field.dataType, timezone="UTC")
        except PySparkTypeError as exc:
            raise SchemaError(
                f"column {field.name!r} has type {field.dataType.simpleString()}, which Spark does "
                "not pass to its Python workers: cast it, or "
                + advise("columns", phrase="leave it out with {}")
            ) from exc


def _select(df: Frame, indices: Sequence[int]) -> Frame:
    """Select columns by position: Spark resolves no dots and no repeated names."""
    names = [f"c{index}" for index in range(len(df.columns))]
    return cast("Frame", df.toDF(*names).select(*[names[index] for index in indices]))


def _collect(df: DataFrame) -> Sequence[Any]:
    try:
        return cast("Sequence[Any]", df.collect())
    except Exception as exc:  # classic sessions, Connect and py4j have errors of their own
        found = find_error(exc)
        if found is None:
            raise
        raise found from exc


# ---- On the workers ----------------------------------------------------------------------


class _ScoreRows(Value, frozen=True):
    """Scores the batches of a partition, whose columns have these names."""

    scorer: Scorer
    names: tuple[str, ...]
    archive: str | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        named = (batch.rename_columns(list(self.names)) for batch in batches)
        return _open(self.scorer, self.archive).batches(named)


class _SummarizeRows(Value, frozen=True):
    """Summarizes the batches of a partition, which have the columns in ``read``."""

    scorer: Scorer
    names: tuple[str, ...]
    read: tuple[int, ...]
    archive: str | None

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        scorer = _open(self.scorer, self.archive)
        total = scorer.empty_summary
        for batch in batches:
            part = scorer.score(self._complete(batch), first_record=total.rows + 1)[1]
            total = total.merge(part)
        return iter([_to_batch(total)])

    def _complete(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Add the other columns, whose names drift reports, without values."""
        given = dict(zip(self.read, batch.columns, strict=True))
        nothing = pa.nulls(batch.num_rows)
        columns = [given.get(index, nothing) for index in range(len(self.names))]
        return pa.RecordBatch.from_arrays(columns, list(self.names))


class _MergeSummaries(Value, frozen=True):
    """Merges the summaries of partitions."""

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        parts = (
            pickle.loads(part)  # noqa: S301 - made by our tasks
            for batch in batches
            for part in batch.column(0).to_pylist()
        )
        first = next(parts, None)
        return iter(
            [] if first is None else [_to_batch(reduce(PartialSummary.merge, parts, first))]
        )


def _to_batch(summary: PartialSummary) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({_PART: pa.array([pickle.dumps(summary)], pa.binary())})


def _open(scorer: Scorer, archive: str | None) -> Scorer:
    if archive is None:
        return scorer
    from pyspark import SparkFiles

    folder = Path(SparkFiles.get(archive))
    if not folder.is_dir():
        raise ArtifactError(
            f"Spark has unpacked no archive {archive!r} for its workers: add the bundle, "
            f'spark.addArtifacts("bundle.zip#{archive}", archive=True)'
        )
    return scorer.at(folder)


def _ship(work: MapBatches) -> MapBatches:
    """Make the function that Spark pickles: workers without onnxferry can say that they lack it.

    Spark takes a nested function along by value, and what it imports is found on the worker.
    """
    from runtime import __version__ as version

    content = pickle.dumps(work)

    def run(batches: Iterator[Any]) -> Any:  # noqa: ANN401 - workers may lack pyarrow's types
        import pickle
        import sys
        from importlib.metadata import PackageNotFoundError
        from importlib.metadata import version as version_of

        def refuse(problem: str) -> Any:  # noqa: ANN401 - an error
            # The driver finds an error by the name in the traceback that Spark quotes.
            kind = type("UnavailableError", (ImportError,), {"__module__": "runtime.errors"})
            return kind(
                f"{problem} in the Python of Spark's workers ({sys.executable}): install "
                f"onnxferry {version} there, with the extra cpu or gpu, or let PYSPARK_PYTHON "
                "name a Python that has it"
            )

        try:
            found = version_of("onnxferry")
        except PackageNotFoundError:
            found = version  # code that was added without metadata
        if found != version:
            raise refuse(f"onnxferry is {found}, not {version},")
        try:
            return pickle.loads(content)(batches)  # noqa: S301 - Spark pickles as well
        except ModuleNotFoundError as exc:
            if exc.name != "runtime":
                raise
            raise refuse("onnxferry is missing") from None

    return run
