"""The picklable scorer: batches and data frames in, the same with predictions out."""

from __future__ import annotations

import os
from functools import reduce
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar, cast

import pyarrow as pa
from msgspec.structs import replace

from runtime.errors import UsageError
from runtime.monitoring.monitor import Monitor
from runtime.printable import list_names
from runtime.scorer.frames import select_columns, to_columns
from runtime.scorer.plan import Plan
from runtime.scorer.portable import PortableBundle
from runtime.scorer.schemas import extend_ddl, extend_struct
from runtime.scorer.summaries import PartialSummary
from runtime.scoring.frames import append_columns
from runtime.scoring.options import Options
from runtime.scoring.summary import Summary
from runtime.session import check_choice
from runtime.tables.options import ReadOptions
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Literal

    from runtime.choices import Decimal, ProviderChoice
    from runtime.io.paths import Location
    from runtime.model import LoadedModel
    from runtime.schema.classes import Proba
    from runtime.schema.features import Schema
    from runtime.scorer.plan import ScoredBatch

Frame = TypeVar("Frame")
SchemaType = TypeVar("SchemaType")


class Settings(Value, frozen=True):
    """What a ``Scorer`` takes to other processes; see there."""

    bundle: PortableBundle
    options: Options
    drift: bool
    provider: ProviderChoice
    check: bool


class Scorer:
    """Adds predictions to batches of rows, in any process; picklable and thread-safe.

    The output has the rows of the input in their order, and its columns followed by ``label``,
    ``probability`` and what the options add, with the values that ``runtime predict`` writes.
    A batch is a pyarrow table or record batch, a pandas or polars data frame, or a dict of numpy
    columns; the output is of the same type, and an empty batch gives the types of a full one.

    A process opens the model when it scores its first rows, verifies it there, and keeps it for
    all scorers of the same bundle. The model runs in the calling thread.
    """

    def __init__(  # noqa: PLR0913 - options by keyword
        self,
        bundle: Location | str,
        *,
        bad_rows: Literal["fail", "null"] = "fail",
        proba: Proba = False,
        prefix: str = "",
        columns: Sequence[str] | None = None,
        truth: str | None = None,
        drift: bool = False,
        decimal: Decimal = ".",
        loose_header: bool = False,
        provider: ProviderChoice = "auto",
        check: bool = True,
        embed: bool = True,
        key: str | os.PathLike[str] | None = None,
    ) -> None:
        """Read and verify a bundle.

        Args:
            bundle: its folder, a path or a URI such as ``s3://bucket/key``.
            bad_rows: ``fail`` refuses a batch with rows that cannot be scored, ``null`` keeps them
                with empty predictions and a reason.
            proba: true or ``all`` adds a column with the probability of each class, ``positive``
                that of the positive one of two, the name of a class that of this one.
            prefix: of the names of new columns.
            columns: names of the columns to keep; None for all.
            truth: name of the column with the true class, for the accuracy in summaries.
            drift: count the values for the drift in summaries.
            decimal: the decimal sign of numbers in text.
            loose_header: match column names regardless of case, blanks and Unicode form.
            provider: ``cuda``, ``cpu``, or ``auto``, which takes CUDA where the engine gives the
                process a device.
            check: run the golden rows in each process that opens the model.
            embed: take the bundle along; otherwise each process reads it from its path, and
                refuses one with another digest.
            key: PEM file of the public key that must have signed the bundle; verified here, and
                by the digest in each process.

        Raises:
            UsageError: when an option is invalid, or the bundle has no distribution for drift.
            ArtifactError: when the bundle is missing, damaged or of an unknown format, or with
                ``key`` not signed by it or altered since.
            UnavailableError: with ``key``, without the extra ``sign``.
        """
        if cast("str", bad_rows) == "reject":
            raise UsageError(
                f'bad_rows="reject" would drop rows within a batch: give "null", and keep the rows '
                f"whose {prefix + 'reason'!r} is null with the engine's filter"
            )
        if bad_rows not in {"fail", "null"}:
            raise UsageError(f'unknown policy {bad_rows!r} for bad rows: choose "fail" or "null"')
        if isinstance(columns, str):
            raise UsageError(f"columns must be a list of names: give [{columns!r}]")
        kept = None if columns is None else tuple(columns)
        if not all(isinstance(name, str) for name in kept or ()):
            raise UsageError("columns must be names, not numbers or expressions")
        check_choice(provider)
        options = Options(
            reading=ReadOptions(decimal=decimal, loose_header=loose_header),
            bad_rows=bad_rows,
            columns=kept,
            proba=proba,
            prefix=prefix,
            truth=truth,
        )
        portable = PortableBundle.read(bundle, embed=embed, key=key)
        self._start(Settings(portable, options, drift, provider, check))

    def _start(self, settings: Settings) -> None:
        self._settings = settings
        self._plan: Plan | None = None  # of the last batch
        self._model: tuple[int, LoadedModel] | None = None  # with its process
        self._monitors = [self._new_monitor()]  # for one thread each
        self._empty_summary = PartialSummary(
            sha256(repr((settings.bundle.digest, settings.options, settings.drift)).encode())
            .hexdigest(),
            0,
            (),
            (),
            self._monitors[0].counts(),
        )  # fmt: skip

    def __reduce__(self) -> tuple[Callable[[Settings], Scorer], tuple[Settings]]:
        return _restore, (self._settings,)

    def __repr__(self) -> str:
        model = self._settings.bundle.bundle.manifest.model
        return f"Scorer({model.name} {model.version}, {list_names(self.schema.feature_names, 5)})"

    @property
    def schema(self) -> Schema:
        """The model's features and classes."""
        return self._settings.bundle.bundle.manifest.schema

    @property
    def digest(self) -> str:
        """SHA-256 of the bundle's manifest, which has the digests of its files."""
        return self._settings.bundle.digest

    @property
    def empty_summary(self) -> PartialSummary:
        """The summary of no rows, with which accumulators begin."""
        return self._empty_summary

    def __call__(self, batch: Frame) -> Frame:
        """Add predictions to a batch.

        Args:
            batch: ``(rows, columns)``, with the features by name in any order.

        Returns:
            The same type with as many rows, in their order.

        Raises:
            UsageError: when it is no table with named columns.
            SchemaError: when a feature's column is missing or of an unsuitable type, or a new
                column exists already.
            DataError: when a column cannot be read.
            BadRowsError: when rows cannot be scored and ``bad_rows`` is ``fail``.
            ArtifactError: when the bundle is damaged, or another one, in this process.
            UnavailableError: when onnxruntime or the provider is not available in this process.
            ParityError: when the error of a golden row exceeds its bound on this machine.
        """
        return cast("Frame", self._score(batch, 1, None)[0])

    def score(self, batch: Frame, *, first_record: int = 1) -> tuple[Frame, PartialSummary]:
        """Add predictions to a batch, and summarize it.

        Args:
            batch: as in a call.
            first_record: number of its first row in messages, counted from 1.

        Returns:
            The output, and the summary of its rows.

        Raises:
            OnnxferryError: as in a call.
        """
        try:
            monitor = self._monitors.pop()
        except IndexError:
            monitor = self._new_monitor()
        monitor.restore(self._empty_summary.counts)
        output, scored = self._score(batch, first_record, monitor)
        summary = PartialSummary(
            self._empty_summary.settings,
            scored.rows,
            tuple(sorted(scored.reasons.items())),
            (self._open().provider,) if scored.rows else (),
            monitor.counts(),
        )
        self._monitors.append(monitor)
        return output, summary

    def batches(
        self,
        batches: Iterable[Frame],
        on_summary: Callable[[PartialSummary], object] | None = None,
    ) -> Iterator[Frame]:
        """Add predictions to each of the batches, as ``mapInArrow`` of Spark wants it.

        Args:
            batches: as in a call; rows are numbered through them in messages.
            on_summary: called with the summary of each batch before it is returned; Spark's
                accumulators have ``add``.

        Yields:
            One output a batch.

        Raises:
            OnnxferryError: as in a call.
        """
        record = 1
        for batch in batches:
            if on_summary is None:
                output, scored = self._score(batch, record, None)
                rows = scored.rows
            else:
                output, summary = self.score(batch, first_record=record)
                rows = summary.rows
                on_summary(summary)
            record += rows
            yield output

    def summarize(self, parts: Iterable[PartialSummary], *, seconds: float = 0.0) -> Summary:
        """Merge summaries of batches to that of the whole, as ``runtime predict`` has it.

        Args:
            parts: of ``score`` or ``batches``, in any order; none for no rows.
            seconds: wall time of the engine's job.

        Returns:
            Counts of rows, and monitored statistics.

        Raises:
            UsageError: when a part is of a scorer with another bundle or other options.
        """
        total = reduce(PartialSummary.merge, parts, self._empty_summary)
        monitor = self._new_monitor()
        monitor.restore(total.counts)
        model = self._settings.bundle.bundle.manifest.model
        return Summary(
            rows=total.rows,
            scored=total.rows - total.rejected,
            rejected=total.rejected,
            reasons=dict(total.reasons),
            provider=", ".join(total.providers),
            seconds=seconds,
            provider_reason="of the workers" if total.providers else "no rows",
            model=f"{model.name} {model.version}",
            out_of_range=monitor.out_of_range,
            truth=monitor.accuracy,
            drift=monitor.drift,
        )

    def output_schema(self, input_schema: SchemaType) -> SchemaType:
        """Get the schema of the output without scoring anything.

        Args:
            input_schema: a pyarrow schema; one of Spark, as a ``StructType`` or DDL such as
                ``"id BIGINT, price DOUBLE"``; or one of polars.

        Returns:
            A schema of the same type.

        Raises:
            UsageError: when it is none of these.
            SchemaError: when a feature's column is missing or of an unsuitable type, or a new
                column exists already.
        """
        schema: Any = input_schema
        if isinstance(schema, pa.Schema):
            return cast("SchemaType", self.find_plan(schema).output)
        if isinstance(schema, str):
            return cast("SchemaType", extend_ddl(schema, self.find_plan))
        kind = type(schema)
        if kind.__name__ == "StructType":
            return cast("SchemaType", extend_struct(schema, self.find_plan))
        if kind.__module__.startswith("polars"):
            return cast("SchemaType", self(schema.to_frame()).schema)
        raise UsageError(
            f"a {kind.__name__} is no schema of pyarrow, Spark or polars: give one, or call the "
            "scorer with a batch without rows"
        )

    def find_plan(self, fields: pa.Schema) -> Plan:
        """Find the roles of columns; for engines that choose which ones travel to a worker.

        Args:
            fields: of the batches.

        Returns:
            Columns that are read, carried and added.

        Raises:
            SchemaError: as in ``output_schema``.
        """
        plan = self._plan  # another thread may replace it
        if plan is None or not plan.fields.equals(fields, check_metadata=True):
            plan = self._plan = Plan(self.schema, self._settings.options, fields)
        return plan

    def without_columns(self) -> Scorer:
        """Make the same scorer that carries no columns, for summaries alone."""
        settings = self._settings
        return _restore(replace(settings, options=replace(settings.options, columns=())))

    def at(self, bundle: Location) -> Scorer:
        """Make the same scorer that reads its bundle from a folder, which workers have.

        Args:
            bundle: the folder; its digest is verified when the model is opened.

        Returns:
            A scorer that takes no files along.
        """
        settings = self._settings
        return _restore(replace(settings, bundle=settings.bundle.at(bundle)))

    def _score(
        self,
        batch: Any,  # noqa: ANN401 - tables of many libraries
        first_record: int,
        monitor: Monitor | None,
    ) -> tuple[Any, ScoredBatch]:
        if isinstance(batch, pa.RecordBatch | pa.Table):
            plan = self.find_plan(batch.schema)
            columns = batch.select(plan.read)
        else:
            columns, fields = to_columns(batch, self.schema, self._settings.options)
            plan = self.find_plan(fields)
        parts = [columns] if isinstance(columns, pa.RecordBatch) else columns.to_batches()
        scored = plan.score(self._open, parts, first_record, monitor)
        if monitor:
            left_out = self._settings.bundle.bundle.manifest.provenance.left_out_columns or {}
            monitor.add_other_columns(plan.others, left_out, self._settings.options.truth)
        if isinstance(batch, pa.RecordBatch | pa.Table):
            output = plan.append(batch, scored.added)
        else:
            kept = batch if plan.keeps_all else select_columns(batch, plan.carried)
            output = append_columns(kept, pa.Table.from_batches(scored.added, plan.added))
        return output, scored

    def _open(self) -> LoadedModel:
        found, process = self._model, os.getpid()
        if found is None or found[0] != process:
            settings = self._settings
            model = settings.bundle.open(settings.provider, check=settings.check)
            found = self._model = (process, model)
        return found[1]

    def _new_monitor(self) -> Monitor:
        settings = self._settings
        return Monitor(self.schema, truth=settings.options.truth is not None, drift=settings.drift)


def _restore(settings: Settings) -> Scorer:
    scorer = object.__new__(Scorer)
    scorer._start(settings)
    return scorer
