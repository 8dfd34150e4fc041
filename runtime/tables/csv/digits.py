"""Write labels and probabilities by table look-up, four digits at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from runtime.tables.arrays import binary_array, number_array, value_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


SMALLEST: Final = np.float32(0.5)
MOST_LABELS: Final = 8  # the table of a label takes a quarter of a megabyte, copied with each block
FEWEST_ROWS: Final = 4096  # that are worth the 15 ms which the tables take to make
_GROUP: Final = 10_000
_ONE: Final = _GROUP**2  # in units of the eighth place
_STEMS: Final = 2 * (_GROUP + 1)  # of a label: first digits as they are, then without zeros


class LabelledDigits:
    """The texts of a table's labels, each followed by a probability."""

    def __init__(self, labels: Sequence[bytes]) -> None:
        """Make the tables."""
        first = [f"0.{digits:04}" for digits in range(_GROUP)]
        alone = [text.rstrip("0") for text in first]
        stems = [text.encode() for text in (*first, "", *alone, "1")]
        self._first = binary_array([label + stem for label in labels for stem in stems])
        self._last = binary_array([f"{n:04}".rstrip("0").encode() for n in range(_GROUP)])

    def append(
        self, records: pa.Array, label: npt.NDArray[np.int32], probability: npt.NDArray[np.float32]
    ) -> memoryview:
        """Write records with label and probability appended, one after another."""
        import pyarrow.compute as pc

        rows = len(records)
        digits = _eight_decimals(probability)
        high = digits // np.int32(_GROUP)  # numpy's divmod takes eight times as long
        low = digits - high * np.int32(_GROUP)
        index = np.empty((rows, 3), dtype=np.int32)
        index[:, 0] = np.arange(rows, dtype=np.int32)
        index[:, 1] = label * np.int32(_STEMS) + high
        index[:, 1] += (low == 0) * np.int32(_GROUP + 1) + np.int32(rows)
        index[:, 2] = low + np.int32(rows + len(self._first))
        pieces = pa.concat_arrays([records, self._first, self._last])
        return value_bytes(pc.take(pieces, number_array(index.reshape(-1)), boundscheck=False))


def append_few(
    labels: Sequence[bytes],
    records: pa.Array,
    label: npt.NDArray[np.int32],
    probability: npt.NDArray[np.float32],
) -> memoryview:
    """Write a few records as ``LabelledDigits`` does, without tables and Arrow's kernels."""
    digits = _eight_decimals(probability).tolist()
    texts = ["1" if n == _ONE else f"0.{n:08}".rstrip("0") for n in digits]
    rows = zip(records.to_pylist(), label.tolist(), texts, strict=True)
    return memoryview(b"".join(record + labels[at] + text.encode() for record, at, text in rows))


def _eight_decimals(probability: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
    """Round to the shortest decimal that reads back, in units of its eighth place."""
    exact = probability.astype(np.float64)
    seven = np.rint(exact * 1e7)
    is_enough = (seven / 1e7).astype(np.float32) == probability
    return np.where(is_enough, seven * 10, np.rint(exact * 1e8)).astype(np.int32)
