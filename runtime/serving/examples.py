"""Example requests: of the startup line, error messages and ``/openapi.json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from runtime.printable import join_names
from runtime.schema.example import example_row
from runtime.serving.v2.columns import FEATURES
from runtime.serving.v2.tensors import BYTES

if TYPE_CHECKING:
    from runtime.schema.features import Schema

_MAX_SHOWN: Final = 800  # characters in a message; a wide model's would fill the screen
_ELSEWHERE: Final = "; /openapi.json has an example"


def predict_example(schema: Schema) -> dict[str, float | str]:
    """Return a body for ``/predict``: one row."""
    return example_row(schema)


def infer_example(schema: Schema) -> dict[str, Any]:
    """Return a body for ``/v2/models/NAME/infer``: one row, as tensors."""
    row = example_row(schema)
    if not any(feature.categories or feature.origin for feature in schema.features):
        return {"inputs": [_tensor(FEATURES, "FP32", [1, len(row)], list(row.values()))]}
    return {
        "inputs": [
            _tensor(name, BYTES if isinstance(cell, str) else "FP32", [1], [cell])
            for name, cell in row.items()
        ]
    }


def example_rows(schema: Schema) -> dict[str, Any]:
    """Return bodies for ``/predict`` by media type."""
    row = predict_example(schema)
    table = f"{join_names(row)}\n{join_names(map(str, row.values()))}\n"
    return {"application/json": row, "text/csv": table}


def example_tensors(schema: Schema) -> dict[str, Any]:
    """Return a body for ``/v2/models/NAME/infer`` by media type."""
    return {"application/json": infer_example(schema)}


def example_parameters(_schema: Schema) -> dict[str, Any]:
    """Return a body without parameters by media type."""
    return {"application/json": {}}


def no_example(_schema: Schema) -> dict[str, Any]:
    """Return no body."""
    return {}


def advise_rows(schema: Schema) -> str:
    """Say what ``/predict`` takes."""
    text = _encode(predict_example(schema))
    shown = f", such as {text}," if len(text) <= _MAX_SHOWN else ""
    more = "" if shown else _ELSEWHERE
    return f"send rows as JSON{shown} or as CSV with Content-Type: text/csv{more}"


def advise_tensors(schema: Schema) -> str:
    """Say what ``/v2/models/NAME/infer`` takes."""
    text = _encode(infer_example(schema))
    shown = f" such as {text}" if len(text) <= _MAX_SHOWN else f" of the protocol{_ELSEWHERE}"
    return f"send JSON{shown}; POST /predict takes rows, as JSON objects or CSV"


def _encode(body: object) -> str:
    return msgspec.json.encode(body).decode()


def _tensor(name: str, datatype: str, shape: list[int], data: list[float | str]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}
