"""What tensors a model is asked with, and how one tensor a column becomes its matrix.

In: a schema; then numbers and texts by column. Out: ``(rows, n_inputs)``, categories and dates
encoded by the code that encodes those of files. Raises ``RequestError`` that names row, column and
text.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from runtime.errors import RequestError
from runtime.serving.protocol.texts import DATATYPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runtime.encoding import Column, Encoder
    from runtime.schema.features import Schema
    from runtime.serving.protocol.tensors import Numbers
    from runtime.tables.base import Encoded

FEATURES: Final = "features"
_SHOWN: Final = 40  # characters of a text, and categories
_FLOAT_BYTES: Final = 4


class Columns:
    """The columns of a model, as clients send them.

    Attributes:
        schema: of the model.
        texts: names of the columns that hold categories or dates.
        gaps: names of those of numbers or dates in which one may be missing.
        most_rows: of a request, so that its matrix is no larger than a body may be; a category is
            a few bytes when it is sent, and a row of numbers when it is encoded.
    """

    def __init__(self, schema: Schema, most_bytes: int) -> None:
        """Prepare.

        Args:
            schema: of the model.
            most_bytes: of a body.
        """
        self.schema = schema
        self.texts = frozenset(one.name for one in schema.features if one.categories or one.origin)
        self.gaps = frozenset(one.name for one in schema.features if one.missing == "imputed")
        self.most_rows = (
            most_bytes // (_FLOAT_BYTES * schema.n_inputs) if self.texts else sys.maxsize
        )
        self._encoder = None
        if self.texts:  # loads pyarrow
            from runtime.encoding import Encoder

            self._encoder = Encoder(schema.features)

    def tensors(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Say what tensors a request has: name, datatype and shape, -1 for the rows.

        Returns:
            One tensor for all columns, or one a column where some hold text.
        """
        if not self.texts:
            return [(FEATURES, "FP32", (-1, self.schema.n_inputs))]
        return [
            (name, DATATYPE if name in self.texts else "FP32", (-1,))
            for name in self.schema.feature_names
        ]

    def matrix(self, sent: Mapping[str, Numbers | list[bytes]]) -> Numbers:
        """Put columns together.

        Args:
            sent: ``(rows,)`` numbers or texts, by column; all columns are there.

        Returns:
            ``(rows, n_inputs)`` float32, or float64 that is still to be rounded.

        Raises:
            RequestError: for a text that is no category of the model, or no date.
        """
        ordered = [sent[name] for name in self.schema.feature_names]
        if self._encoder is None:
            return cast("Numbers", np.column_stack(cast("list[Numbers]", ordered)))
        encoded = self._encoder.encode([self._as_column(at, one) for at, one in enumerate(ordered)])
        self._check(encoded, ordered)
        return encoded.matrix

    def _as_column(self, at: int, sent: Numbers | list[bytes]) -> Column:
        from runtime.tables.arrays import binary_array

        if isinstance(sent, list):
            return binary_array(sent)
        allows_missing = self._encoder is not None and self._encoder.allows_missing(at)
        return (sent, np.isnan(sent)) if allows_missing else sent

    def _check(self, encoded: Encoded, ordered: list[Numbers | list[bytes]]) -> None:
        """Refuse the first text that has no place; numbers are looked at with the whole batch."""
        texts = [at for at, sent in enumerate(ordered) if isinstance(sent, list)]
        usable = encoded.usable[:, texts]
        if not usable.all():
            row, place = (int(at) for at in np.argwhere(~usable)[0])
            at = texts[place]
            raise RequestError(self._explain(row, at, cast("list[bytes]", ordered[at])[row]))

    def _explain(self, row: int, at: int, text: bytes) -> str:
        from runtime.tables.dialect import COMMA

        feature = self.schema.features[at]
        why = cast("Encoder", self._encoder).explain(at, text, COMMA)
        shown = text[: 4 * _SHOWN].decode(errors="replace")[:_SHOWN]
        known = ", ".join(repr(one[:_SHOWN]) for one in feature.categories[:_SHOWN] if one)
        takes = f"; it takes {known}" if known else ""
        return f"row {row}, column {feature.name!r}: {shown!r}: {why}{takes}"
