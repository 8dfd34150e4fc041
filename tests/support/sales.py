"""Rows for the bundle ``tests/data/sales``, and how a request holds them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from serving_client import Answer, Served


INFER = "/v2/models/sales/infer"
NAN = float("nan")
TABLE = """price,colour,rating,size
2.5,red,3.5,S
9.75,"blå, mørk",,M
5,,4.25,L
1.25,green,,S
""".encode()
PRICE, RATING = [2.5, 9.75, 5.0, 1.25], [3.5, NAN, 4.25, NAN]
COLOUR, SIZE = ["red", "blå, mørk", "", "green"], ["S", "M", "L", "S"]
# The same as the model's matrix: price, colour=..., rating, size=...
MATRIX = [
    [2.5, 0, 0, 0, 1, 3.5, 0, 0, 1],
    [9.75, 0, 1, 0, 0, NAN, 0, 1, 0],
    [5.0, 1, 0, 0, 0, 4.25, 1, 0, 0],
    [1.25, 0, 0, 1, 0, NAN, 0, 0, 1],
]


def nulls(values: list[float]) -> list[float | None]:
    return [None if value != value else value for value in values]  # noqa: PLR0124 - NaN


def tensor(name: str, datatype: str, data: object = None, **more: object) -> dict[str, Any]:
    sent = {} if data is None else {"data": data}
    return {"name": name, "shape": [4], "datatype": datatype, **sent, **more}


def columns(**changed: dict[str, Any]) -> list[dict[str, Any]]:
    """One tensor a column, in an order of their own."""
    tensors = {
        "size": tensor("size", "BYTES", SIZE),
        "rating": tensor("rating", "FP32", nulls(RATING)),
        "colour": tensor("colour", "BYTES", COLOUR),
        "price": tensor("price", "FP64", PRICE),
    }
    return [tensors[name] | changed.get(name, {}) for name in tensors]


def ask(served: Served, inputs: list[dict[str, Any]], tail: bytes = b"") -> Answer:
    text = json.dumps({"inputs": inputs}, ensure_ascii=False).encode()
    fields = {"Inference-Header-Content-Length": str(len(text))} if tail else {}
    return served.ask(INFER, text + tail, fields)


def probabilities(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    (values,) = (one for one in answer.json["outputs"] if one["name"] == "probabilities")
    return np.array(values["data"], np.float32).reshape(values["shape"])


def binary(name: str, datatype: str, content: bytes) -> tuple[dict[str, Any], bytes]:
    size = {"binary_data_size": len(content)}
    return tensor(name, datatype, parameters=size), content
