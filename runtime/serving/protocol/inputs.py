"""Bind a request's tensors to the model's columns.

A request has one tensor ``features`` with all columns in the schema's order, or one tensor a
column, in any order, bound by name: numbers, or BYTES where a column holds text. In: the
messages. Out: ``(rows, n_inputs)``. Raises ``RequestError`` that names the tensor,
``OversizeError`` for too many rows.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from runtime.errors import OversizeError, RequestError
from runtime.serving.protocol.columns import FEATURES
from runtime.serving.protocol.messages import parse_shape
from runtime.serving.protocol.tensors import (
    Numbers,
    Place,
    check_datatype,
    numbers_of_bytes,
    numbers_of_json,
    size_of,
)
from runtime.serving.protocol.texts import DATATYPE, texts_of_bytes, texts_of_json
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.serving.http.message import Buffer
    from runtime.serving.protocol.columns import Columns
    from runtime.serving.protocol.messages import InferenceRequest, InputTensor

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
    request: InferenceRequest, binary: Binary, columns: Columns, most_rows: int
) -> Numbers:
    """Read a request's tensors as the model's matrix.

    Args:
        request: the messages.
        binary: where tensors lie that are not JSON.
        columns: of the model.
        most_rows: that are allowed.

    Returns:
        ``(rows, n_inputs)`` float32, or float64 that is still to be rounded.

    Raises:
        RequestError: when tensors are missing, too many, doubled, or not as they say.
        OversizeError: when there are too many rows.
    """
    tensors = request.inputs
    if len(tensors) == 1 and tensors[0].name == FEATURES:
        gaps, width = columns.schema.imputed_inputs, columns.schema.n_inputs
        check_datatype(tensors[0].datatype, "inputs[0]")
        rows = _count_rows(tensors, width, most_rows)
        reader = _Reader(binary, rows)
        matrix = reader.read_numbers(tensors[0], Place("inputs[0]", width, gaps))
        reader.finish()
        return matrix.reshape(rows, width)
    _check_names(tensors, columns)
    rows = _count_rows(tensors, 1, min(most_rows, columns.most_rows))
    reader = _Reader(binary, rows)
    sent = {one.name: _read_column(reader, one, columns, at) for at, one in enumerate(tensors)}
    reader.finish()
    return columns.matrix(sent)


def _read_column(
    reader: _Reader, tensor: InputTensor, columns: Columns, at: int
) -> Numbers | list[bytes]:
    """Read the tensor of one column."""
    where = f"inputs[{at}]"
    if tensor.name in columns.texts:
        return reader.read_texts(tensor, where)
    return reader.read_numbers(tensor, Place(where, 1, (0,) if tensor.name in columns.gaps else ()))


def _check_names(tensors: list[InputTensor], columns: Columns) -> None:
    """Refuse names that are missing, doubled or unknown, all of them at once."""
    names = Counter(tensor.name for tensor in tensors)
    schema = columns.schema
    wanted = schema.feature_names
    wrong = [f"{name!r} stands there {n} times" for name, n in names.items() if n > 1]
    wrong += [f"{name!r} is missing" for name in wanted if name not in names]
    wrong += [f"{name!r} is no column of the model" for name in names if name not in set(wanted)]
    if wrong:
        raise RequestError(
            f"inputs: {', '.join(wrong[:10])}; send one tensor {FEATURES!r} of shape "
            f"[rows, {schema.n_inputs}] or one tensor a column: {', '.join(map(repr, wanted))}"
        )
    for at, tensor in enumerate(tensors):
        if tensor.name not in columns.texts:
            check_datatype(tensor.datatype, f"inputs[{at}]")
        elif tensor.datatype != DATATYPE:
            raise RequestError(
                f"inputs[{at}].datatype is {tensor.datatype!r}; {tensor.name!r} holds text: "
                f"send {DATATYPE}"
            )


def _count_rows(tensors: list[InputTensor], width: int, most_rows: int) -> int:
    """Compare the declared shapes with the model and with each other, by arithmetic alone."""
    found: set[int] = set()
    for at, tensor in enumerate(tensors):
        where = f"inputs[{at}]"
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

    def __init__(self, binary: Binary, rows: int) -> None:
        self._binary, self._rows = binary, rows
        self._at = binary.start

    def read_numbers(self, tensor: InputTensor, place: Place) -> Numbers:
        size = _size_if_binary(tensor, place.where)
        if size is None:
            return numbers_of_json(tensor.data, self._rows, tensor.datatype, place)  # type: ignore[arg-type]
        count = self._rows * place.width
        promised = count * size_of(tensor.datatype)
        if size != promised:
            raise RequestError(
                f"{place.where}: {BINARY_SIZE} is {size!r}; its shape and {tensor.datatype} "
                f"make {promised} bytes"
            )
        start = self._take(promised, place.where).start
        return numbers_of_bytes(self._binary.content, start, count, tensor.datatype)

    def read_texts(self, tensor: InputTensor, where: str) -> list[bytes]:
        size = _size_if_binary(tensor, where)
        if size is None:
            return texts_of_json(tensor.data, self._rows, where)  # type: ignore[arg-type]
        return texts_of_bytes(self._binary.content, self._take(size, where), self._rows, where)

    def _take(self, size: int, where: str) -> range:
        """Say where the next bytes lie."""
        left = len(self._binary.content) - self._at
        if size > left:
            raise RequestError(
                f"{where}: {size} bytes of binary data were promised, {left} are left in the "
                "body; see the header field Inference-Header-Content-Length"
            )
        start, self._at = self._at, self._at + size
        return range(start, self._at)

    def finish(self) -> None:
        left = len(self._binary.content) - self._at
        if left:
            raise RequestError(f"{left} bytes of the body belong to no tensor; leave them out")


def _size_if_binary(tensor: InputTensor, where: str) -> int | None:
    """Tell how many bytes a tensor has; None where it is JSON."""
    parameters = tensor.parameters or {}
    if _SHARED in parameters:
        raise RequestError(f"{where}: shared memory is not offered; send the data")
    size = parameters.get(BINARY_SIZE)
    if (size is None) == (tensor.data is UNSET):
        raise RequestError(
            f"{where} needs either data or the parameter {BINARY_SIZE}, and not both"
        )
    if size is None:
        return None
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise RequestError(f"{where}: {BINARY_SIZE} is {size!r}; it is a number of bytes")
    return size
