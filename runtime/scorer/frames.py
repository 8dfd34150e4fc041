"""Data frames of pandas and polars and dicts of numpy columns as batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from runtime.errors import UsageError
from runtime.scoring.frames import to_arrow
from runtime.scoring.named_columns import column_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runtime.schema.features import Schema
    from runtime.scoring.options import Options


def to_columns(batch: object, schema: Schema, options: Options) -> tuple[pa.Table, pa.Schema]:
    """Convert the features and the true class to Arrow.

    Returns these columns, and the fields of all, of which the others have no type.
    """
    names = column_names(batch)
    if names is None:
        raise UsageError(
            f"a {type(batch).__name__} has no named columns: give a table or record batch of "
            "pyarrow, a data frame of pandas or polars, or a dict of columns"
        )
    read = [*schema.bind(names, loose=options.reading.loose_header)]
    if options.truth in names:
        read.append(names.index(options.truth))
    read = list(dict.fromkeys(read))
    columns = to_arrow(batch, read, [names[index] for index in read])
    types = dict(zip(read, columns.schema.types, strict=True))
    fields = [(name, types.get(index, pa.null())) for index, name in enumerate(names)]
    return columns, pa.schema(fields)


def select_columns(batch: Any, indices: Sequence[int]) -> Any:  # noqa: ANN401 - tables of many libraries
    """Select columns by index."""
    if hasattr(batch, "iloc"):  # pandas
        return batch.iloc[:, list(indices)]
    names = list(batch) if isinstance(batch, Mapping) else column_names(batch) or []
    chosen = [names[index] for index in indices]
    if isinstance(batch, Mapping):
        return {name: batch[name] for name in chosen}
    return batch.select(chosen) if hasattr(batch, "select") else batch[chosen]
