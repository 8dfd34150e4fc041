"""Example bodies of requests to the served models: a row from the middle of their training rows."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from runtime.schema.dates import format_instant
from runtime.serving.v2.columns import FEATURES
from runtime.serving.v2.tensors import BYTES

if TYPE_CHECKING:
    from runtime.serving.ui.page import ColumnSummary, ModelCard

Cell = str | int | float


def example_rows(card: ModelCard) -> dict[str, Any]:
    """Return a body of ``/predict`` by media type."""
    row = {column.name: _cell(column) for column in card.features}
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([row, row.values()])
    return {"application/json": row, "text/csv": text.getvalue()}


def example_tensors(card: ModelCard) -> dict[str, Any]:
    """Return a body of ``infer`` by media type: one tensor, or one a column if some hold text."""
    cells = [_cell(column) for column in card.features]
    is_text = [bool(column.categories or column.origin) for column in card.features]
    inputs = [_tensor(FEATURES, [1, len(cells)], "FP64", cells)]
    if any(is_text):
        inputs = [
            _tensor(column.name, [1], BYTES if text else "FP64", [cell])
            for column, cell, text in zip(card.features, cells, is_text, strict=True)
        ]
    return {"application/json": {"inputs": inputs}}


def no_example(_card: ModelCard) -> dict[str, Any]:
    """Return no body."""
    return {}


def example_parameters(_card: ModelCard) -> dict[str, Any]:
    """Return a body without parameters by media type."""
    return {"application/json": {}}


def _tensor(name: str, shape: list[int], datatype: str, data: list[Cell]) -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def _cell(column: ColumnSummary) -> Cell:
    if column.categories:
        return next(filter(None, column.categories), "")
    if column.origin:
        return format_instant(round(column.typical), column.origin, column.format)
    return int(column.typical) if column.typical.is_integer() else column.typical
