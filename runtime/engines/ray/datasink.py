"""A folder of Parquet files that appears when all are whole."""

from __future__ import annotations

import pickle
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from ray.data import Datasink
from ray.data.block import BlockAccessor

from runtime.engines.parts import attempt, commit
from runtime.errors import DataError, first_line
from runtime.io.destinations import Part, open_destination
from runtime.io.paths import parse_location
from runtime.io.streams import DetachableSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from runtime.scorer.scorer import Scorer
    from runtime.scorer.summaries import PartialSummary

_ROW_GROUP_ROWS: Final = 524_288


class AtomicParquet(Datasink):  # type: ignore[misc]  # ray is Any where it is not installed
    """Writes Parquet files that appear together; give it to ``Dataset.write_datasink``.

    Each task writes an attempt of its own into a working folder. When all tasks are done, their
    rows are compared with what they have written, and one attempt of each is published. A job that
    fails or is killed publishes nothing.
    """

    def __init__(self, out: Path | str, scorer: Scorer | None = None) -> None:
        """Choose the folder.

        Args:
            out: a folder that does not exist or is empty, on a file system that all nodes share.
            scorer: adds predictions to the rows that are written; None writes them as they are.

        Raises:
            UsageError: when the folder holds files.
        """
        location = parse_location(out)
        self._out = location.absolute() if isinstance(location, Path) else location
        self._scorer = scorer
        self._stack = ExitStack()
        self._destination = self._stack.enter_context(open_destination(self._out))
        self._staging = self._destination.staging
        self.summaries: list[PartialSummary] = []

    def __getstate__(self) -> dict[str, Any]:
        return {"_out": self._out, "_staging": self._staging, "_scorer": self._scorer}

    def write(self, blocks: Iterable[Any], ctx: Any) -> bytes:  # noqa: ANN401 - Ray's interface
        """Write the blocks of a task, on a worker."""
        name = f"part-{ctx.task_idx:05}.parquet"
        rows = 0
        summaries: list[PartialSummary] = []
        with (
            attempt(self._out, self._staging, name),
            self._staging.write(name) as part,
            ExitStack() as stack,
        ):
            stream = DetachableSink(part)
            stack.callback(stream.detach)  # before the writer's footer, where the block fails
            file = _File(stream)
            for block in blocks:
                table = BlockAccessor.for_block(block).to_arrow()
                if self._scorer:
                    table, summary = self._scorer.score(table, first_record=rows + 1)
                    summaries.append(summary)
                file.write(table)
                rows += table.num_rows
            file.close()
            part.rows, part.extra = rows, pickle.dumps((file.schema, summaries))
        return msgspec.msgpack.encode(part.result)

    def on_write_complete(self, write_result: Any) -> None:  # noqa: ANN401 - Ray's interface
        """Compare the rows and publish, on the driver."""
        returned = write_result.write_returns
        parts = {
            part.name: part for part in (msgspec.msgpack.decode(r, type=Part) for r in returned)
        }
        rows = sum(part.rows for part in parts.values())
        if rows != write_result.num_rows or len(parts) != len(returned):
            raise DataError(
                f"{write_result.num_rows:,} rows in {len(returned)} tasks were to be written, and "
                f"{rows:,} in {len(parts)} are there: nothing was published; run the job again"
            )
        extras = [pickle.loads(part.extra) for part in parts.values()]  # noqa: S301 - our own tasks
        if schemas := [schema for schema, _ in extras if schema is not None]:
            _merge(schemas)
        commit(self._destination, [parts[name] for name in sorted(parts)])
        for _, summaries in extras:
            self.summaries += summaries
        self._stack.close()

    def on_write_failed(self, error: Exception) -> None:
        """Remove what was written, on the driver."""
        self.abort(error)

    def abort(self, error: BaseException) -> None:
        """Remove what was written, unless it was published."""
        with suppress(type(error)):
            self._stack.pop_all().__exit__(type(error), error, error.__traceback__)


class _File:
    """A Parquet file of blocks, in some of which a column may have no value, and so no type."""

    def __init__(self, stream: DetachableSink) -> None:
        self.schema: pa.Schema | None = None
        self._stream = stream
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []  # until all columns have a type

    def write(self, table: pa.Table) -> None:
        """Write a block; raises ``DataError`` where it differs from those before."""
        known = [] if self.schema is None else [self.schema]
        merged = self.schema = _merge([*known, table.schema])
        self._waiting.append(table)
        if self._writer or not any(map(pa.types.is_null, merged.types)):
            self._flush()

    def close(self) -> None:
        """Write what waits, and the footer."""
        self._flush()
        if self._writer:
            self._writer.close()

    def _flush(self) -> None:
        for table in self._waiting:
            if self._writer is None:
                self._writer = pq.ParquetWriter(self._stream, self.schema, write_page_checksum=True)
            typed = table if table.schema.equals(self.schema) else _complete(table, self.schema)
            self._writer.write_table(typed, row_group_size=_ROW_GROUP_ROWS)
        self._waiting.clear()


def _complete(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give columns without a value their type."""
    return table.select(schema.names).cast(schema)


def _merge(schemas: Sequence[pa.Schema]) -> pa.Schema:
    """Merge schemas of the same columns, of which some may have no type; else ``DataError``."""
    try:
        merged = pa.unify_schemas(schemas)
    except pa.ArrowException as exc:
        raise _differing(first_line(exc)) from exc
    for schema in schemas:
        if missing := {*merged.names} - {*schema.names}:
            raise _differing(f"some lack the column {min(missing)!r}")
    return merged


def _differing(how: str) -> DataError:
    return DataError(
        f"the blocks of the data set differ, and its files have one schema: {how}; nothing was "
        "published; give all of them the same columns and types first, as by map_batches"
    )
