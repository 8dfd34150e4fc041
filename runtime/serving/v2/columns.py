"""The input tensors of a model, and their conversion to its input matrix."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from runtime.errors import RequestError
from runtime.printable import list_names
from runtime.serving.v2.tensors import BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.encoding import Encoder
    from runtime.schema.features import Schema
    from runtime.serving.v2.tensors import Numbers
    from runtime.tables.base import Column, Encoded

FEATURES: Final = "features"
_SHOWN: Final = 40  # characters of a string in a message
_FLOAT_BYTES: Final = 4


class InputColumns:
    """The input columns of a model, as clients send them.

    Attributes:
        schema: of the model.
        string_columns: names of the columns of categories or dates.
        nullable_columns: names of the columns of numbers or dates that may be missing.
        max_rows: of a request. Bounds its matrix by the limit of a body: a category is a few bytes
            in a body, and one float for each category in the matrix.
    """

    def __init__(self, schema: Schema, max_bytes: int) -> None:
        """Prepare for a model; ``max_bytes`` is the limit of a body."""
        self.schema = schema
        features = schema.features
        self.string_columns = frozenset(
            one.name for one in features if one.categories or one.origin
        )
        self.nullable_columns = frozenset(one.name for one in features if one.missing == "imputed")
        self.max_rows = sys.maxsize
        self._encoder = None
        if self.string_columns:  # loads pyarrow
            from runtime.encoding import Encoder

            self._encoder = Encoder(features)
            self.max_rows = max_bytes // (_FLOAT_BYTES * schema.n_inputs)

    def tensors(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Return name, datatype and shape of the input tensors, -1 for the rows.

        One tensor for all columns, or one a column where some hold strings.
        """
        if not self.string_columns:
            return [(FEATURES, "FP32", (-1, self.schema.n_inputs))]
        return [
            (name, BYTES if name in self.string_columns else "FP32", (-1,))
            for name in self.schema.feature_names
        ]

    def matrix(self, sent: Mapping[str, Numbers | list[bytes]]) -> Numbers:
        """Return the input matrix, ``(rows, n_inputs)`` float32, or float64 to be rounded.

        ``sent`` are ``(rows,)`` numbers or strings of all columns. Raises ``RequestError`` for a
        string that is not a category of the model or not a date.
        """
        columns = [sent[name] for name in self.schema.feature_names]
        if self._encoder is None:
            return cast("Numbers", np.column_stack(cast("list[Numbers]", columns)))
        encoded = self._encoder.encode([self._as_column(at, one) for at, one in enumerate(columns)])
        self._check(encoded, columns)
        return encoded.matrix

    def _as_column(self, at: int, sent: Numbers | list[bytes]) -> Column:
        from runtime.tables.arrays import binary_array

        if isinstance(sent, list):
            return binary_array(sent)
        allows_missing = self._encoder is not None and self._encoder.allows_missing(at)
        return (sent, np.isnan(sent)) if allows_missing else sent

    def _check(self, encoded: Encoded, columns: list[Numbers | list[bytes]]) -> None:
        """Reject the first invalid string; numbers are validated with the whole batch."""
        strings = [at for at, sent in enumerate(columns) if isinstance(sent, list)]
        usable = encoded.usable[:, strings]
        if not usable.all():
            row, index = (int(at) for at in np.argwhere(~usable)[0])
            at = strings[index]
            raise RequestError(self._explain(row, at, cast("list[bytes]", columns[at])[row]))

    def _explain(self, row: int, at: int, text: bytes) -> str:
        from runtime.tables.dialect import COMMA

        feature = self.schema.features[at]
        why = cast("Encoder", self._encoder).explain(at, text, COMMA)
        shown = text[: 4 * _SHOWN].decode(errors="replace")[:_SHOWN]
        known = list_names([one for one in feature.categories if one])
        expected = f"; known categories: {known}" if known else ""
        return f"row {row}, column {feature.name!r}: {shown!r}: {why}{expected}"
