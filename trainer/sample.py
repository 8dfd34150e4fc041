"""Synthetic products as CSV, for trying the commands and for measuring them.

In: a number of rows and a seed. Out: ``price,rating,popular`` with price from U(1, 10) and
rating from U(1, 5), both written with two decimals; popular is ``yes`` exactly when the two
written values sum to more than 10. No torch, and memory for one chunk of rows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import UsageError
from trainer.seeds import DEFAULT_SEED, check_seed

HEADER = b"price,rating,popular\n"
_CHUNK_ROWS = 2**18

# Everything is counted in hundredths, so that sums and comparisons are exact.
_PRICE_FROM, _PRICE_TO = 100, 1000
_RATING_FROM, _RATING_TO = 100, 500
_POPULAR_ABOVE = 1000


class Writable(Protocol):
    """Where bytes go."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Take them all."""


def write_sample(
    stream: Writable, rows: int, *, seed: int = DEFAULT_SEED, chunk_rows: int = _CHUNK_ROWS
) -> None:
    """Write synthetic products; the bytes depend on rows and seed alone.

    Args:
        stream: takes the bytes.
        rows: number of products, at least 1.
        seed: from 0 to 2**63 - 1.
        chunk_rows: products made at a time.

    Raises:
        UsageError: when rows or seed is out of its range.
    """
    if rows < 1:
        raise UsageError(f"the number of rows must be at least 1, got {rows}")
    check_seed(seed)
    # One stream a column: where a chunk ends then changes nothing.
    prices, ratings = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
    )
    price_cells, rest_cells = _price_cells(), _rest_cells()
    stream.write(HEADER)
    for start in range(0, rows, chunk_rows):
        count = min(chunk_rows, rows - start)
        price = _draw(prices, _PRICE_FROM, _PRICE_TO, count)
        rating = _draw(ratings, _RATING_FROM, _RATING_TO, count)
        popular = price + rating > _POPULAR_ABOVE
        lines = pc.binary_join_element_wise(
            price_cells.take(pa.array(price - _PRICE_FROM)),
            rest_cells.take(pa.array(2 * (rating - _RATING_FROM) + popular)),
            "",
        )
        stream.write(_text_of(lines))


def _draw(generator: np.random.Generator, low: int, high: int, count: int) -> np.ndarray:
    """Draw uniformly and round to hundredths: ``(count,)`` int32 from low to high."""
    return np.rint(low + (high - low) * generator.random(count)).astype(np.int32)


def _price_cells() -> pa.Array:
    """The text of every price there is, with the comma after it."""
    return pa.array([f"{_decimal(price)}," for price in range(_PRICE_FROM, _PRICE_TO + 1)])


def _rest_cells() -> pa.Array:
    """The text after the price: for every rating there is, not popular and popular."""
    ratings = range(_RATING_FROM, _RATING_TO + 1)
    return pa.array(
        [f"{_decimal(rating)},{word}\n" for rating in ratings for word in ("no", "yes")]
    )


def _decimal(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _text_of(lines: pa.Array) -> memoryview:
    """The lines' bytes one after another, as Arrow keeps them."""
    _, offsets, text = lines.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(text)[bounds[0] : bounds[-1]]
