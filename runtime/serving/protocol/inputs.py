"""Bind a request's tensors to the model's columns.

A request has one tensor ``features`` with all columns in the schema's order, or one tensor a
column, in any order, bound by name. In: the messages. Out: ``(rows, n_inputs)``. Raises
``RequestError`` that names the tensor, ``OversizeError`` for too many rows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, cast

import numpy as np
from msgspec import UNSET

from runtime.errors import OversizeError, RequestError
from runtime.serving.protocol.messages import parse_shape
from runtime.serving.protocol.tensors import (
    Numbers,
    check_datatype,
    numbers_of_bytes,
    numbers_of_json,
    size_of,
)
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.schema import Schema
    from runtime.serving.http.message import Buffer
    from runtime.serving.protocol.messages import InferenceRequest, InputTensor

FEATURES: Final = "features"
BINARY_SIZE: Final = "binary_data_size"
_SHARED: Final = "shared_memory_region"


class Binary(Value, frozen=True, gc=False):
    """What follows the JSON part of a body.

    Attributes:
        content: the whole body.
        start: where the first tensor begins, bytes; the end where nothing follows.
    """

    content: Buffer
    start: int


def bind_inputs(
    request: InferenceRequest, binary: Binary, schema: Schema, most_rows: int
) -> Numbers:
    """Read a request's tensors as the model's matrix.

    Args:
        request: the messages.
        binary: where tensors lie that are not JSON.
        schema: of the model.
        most_rows: that are allowed.

    Returns:
        ``(rows, n_inputs)`` float32, or float64 that is still to be rounded.

    Raises:
        RequestError: when tensors are missing, too many, doubled, or not as they say.
        OversizeError: when there are too many rows.
    """
    tensors = request.inputs
    named = not (len(tensors) == 1 and tensors[0].name == FEATURES)
    if named:
        _check_names(tensors, schema)
        _check_numeric(schema)
    width = 1 if named else schema.n_inputs
    rows = _count_rows(tensors, width, most_rows)
    reader = _Reader(binary)
    read = [reader.read(tensor, rows, width, at) for at, tensor in enumerate(tensors)]
    reader.finish()
    if not named:
        return read[0].reshape(rows, width)
    columns = {tensor.name: column for tensor, column in zip(tensors, read, strict=True)}
    return cast("Numbers", np.column_stack([columns[name] for name in schema.feature_names]))


def _check_names(tensors: list[InputTensor], schema: Schema) -> None:
    """Refuse names that are missing, doubled or unknown, all of them at once."""
    names = Counter(tensor.name for tensor in tensors)
    wanted = schema.feature_names
    wrong = [f"{name!r} stands there {n} times" for name, n in names.items() if n > 1]
    wrong += [f"{name!r} is missing" for name in wanted if name not in names]
    wrong += [f"{name!r} is no column of the model" for name in names if name not in set(wanted)]
    if wrong:
        raise RequestError(
            f"inputs: {', '.join(wrong[:10])}; send one tensor {FEATURES!r} of shape "
            f"[rows, {schema.n_inputs}] or one tensor a column: {', '.join(map(repr, wanted))}"
        )


def _check_numeric(schema: Schema) -> None:
    """Refuse one tensor a column where columns hold text, which makes no tensor of numbers."""
    if not schema.is_numeric:
        texts = [each.name for each in schema.features if each.categories or each.origin]
        raise RequestError(
            f"inputs: {', '.join(map(repr, texts[:10]))} hold text; send rows to POST /predict, or "
            f"one tensor {FEATURES!r} of shape [rows, {schema.n_inputs}], one column a category, "
            "dates in days since their origin"
        )


def _count_rows(tensors: list[InputTensor], width: int, most_rows: int) -> int:
    """Compare the declared shapes with the model and with each other, by arithmetic alone."""
    found: set[int] = set()
    for at, tensor in enumerate(tensors):
        where = f"inputs[{at}]"
        check_datatype(tensor.datatype, where)
        shape = parse_shape(tensor, where)
        if shape[1:] != (width,) and not (width == 1 and len(shape) == 1):
            raise RequestError(
                f"{where}.shape is {list(shape)}; {tensor.name!r} has shape [rows, {width}]"
            )
        found.add(shape[0])
    if len(found) > 1:
        raise RequestError(f"the tensors differ in rows: {', '.join(map(str, sorted(found)))}")
    rows = found.pop()
    if rows > most_rows:
        raise OversizeError(
            f"{rows} rows are more than the {most_rows} allowed in one request; send them in parts"
        )
    return rows


class _Reader:
    """Reads the tensors in their order: binary ones lie one after the other."""

    def __init__(self, binary: Binary) -> None:
        self._binary = binary
        self._at = binary.start

    def read(self, tensor: InputTensor, rows: int, width: int, place: int) -> Numbers:
        where = f"inputs[{place}]"
        parameters = tensor.parameters or {}
        if _SHARED in parameters:
            raise RequestError(f"{where}: shared memory is not offered; send the data")
        size = parameters.get(BINARY_SIZE)
        if (size is None) == (tensor.data is UNSET):
            raise RequestError(
                f"{where} needs either data or the parameter {BINARY_SIZE}, and not both"
            )
        if size is None:
            return numbers_of_json(tensor.data, rows, width, tensor.datatype, where)  # type: ignore[arg-type]
        return self._read_binary(tensor, rows * width, size, where)

    def _read_binary(self, tensor: InputTensor, count: int, size: object, where: str) -> Numbers:
        promised = count * size_of(tensor.datatype)
        if size != promised or isinstance(size, bool):
            raise RequestError(
                f"{where}: {BINARY_SIZE} is {size!r}; its shape and {tensor.datatype} "
                f"make {promised} bytes"
            )
        left = len(self._binary.content) - self._at
        if promised > left:
            raise RequestError(
                f"{where}: {promised} bytes of binary data were promised, {left} are left in the "
                "body; see the header field Inference-Header-Content-Length"
            )
        start, self._at = self._at, self._at + promised
        return numbers_of_bytes(self._binary.content, start, count, tensor.datatype)

    def finish(self) -> None:
        left = len(self._binary.content) - self._at
        if left:
            raise RequestError(f"{left} bytes of the body belong to no tensor; leave them out")
