"""Synthetic products: a CSV sample, the default dataset and the tutorial's example.

price is from U(1, 10), rating from U(1, 5); popular is yes if they sum to more than 10. The CSV
has two decimals, and the rule holds for the written values. It needs no torch.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from runtime.errors import UsageError
from runtime.schema.features import Schema
from runtime.tables.formats import Format, format_from_name
from trainer.data.dataset import Dataset, Rows, describe_column
from trainer.seeds import DEFAULT_SEED, check_seed, derive_seed

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from trainer.model import SimpleNet


HEADER = b"price,rating,popular\n"
_CHUNK_ROWS = 2**18

# Everything is counted in hundredths, so that sums and comparisons are exact.
_PRICE_FROM, _PRICE_TO = 100, 1000
_RATING_FROM, _RATING_TO = 100, 500
_POPULAR_ABOVE = 1000

TRAIN_ROWS = 800
TEST_ROWS = 200
_EXAMPLE_PRICE, _EXAMPLE_RATING = 7.5, 3.0
_EXAMPLE_CLASSES = ("not popular", "popular")


class Writable(Protocol):
    """A binary stream."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write all of the data."""


def check_sample_name(path: Path) -> None:
    """Refuse a name that promises another format than plain CSV."""
    found = None
    with suppress(UsageError):  # an extension that is no format's, such as .txt
        found = format_from_name(path)
    if found and found != Format("csv"):
        raise UsageError(f"{path} is named as {found}, and products are CSV: end the name in .csv")


def write_sample(
    stream: Writable, rows: int, *, seed: int = DEFAULT_SEED, chunk_rows: int = _CHUNK_ROWS
) -> None:
    """Write synthetic products as CSV; the bytes depend on rows and seed alone.

    Args:
        stream: receives the bytes.
        rows: number of products, at least 1.
        seed: from 0 to 2**63 - 1.
        chunk_rows: products generated at a time.

    Raises:
        UsageError: when rows or seed is out of range.
    """
    if rows < 1:
        raise UsageError(f"the number of rows must be at least 1, got {rows}")
    check_seed(seed)
    # One random stream per column: the result does not depend on the chunk size.
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
        stream.write(_view_bytes(lines))


def _draw(generator: np.random.Generator, low: int, high: int, count: int) -> np.ndarray:
    """Draw uniformly and round to hundredths: ``(count,)`` int32 from low to high."""
    return np.rint(low + (high - low) * generator.random(count)).astype(np.int32)


def _price_cells() -> pa.Array:
    """Format all prices, each with the comma after it."""
    return pa.array([f"{_decimal(price)}," for price in range(_PRICE_FROM, _PRICE_TO + 1)])


def _rest_cells() -> pa.Array:
    """Format the rest of a line: for each rating, not popular and popular."""
    ratings = range(_RATING_FROM, _RATING_TO + 1)
    return pa.array(
        [f"{_decimal(rating)},{word}\n" for rating in ratings for word in ("no", "yes")]
    )


def _decimal(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _view_bytes(lines: pa.Array) -> memoryview:
    """View the bytes of all lines, which Arrow stores contiguously."""
    _, offsets, text = lines.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[lines.offset : lines.offset + len(lines) + 1]
    return memoryview(text)[bounds[0] : bounds[-1]]


def predict_example(model: SimpleNet) -> str:
    """Predict the tutorial's example, price 7.5 and rating 3.0, and format the result."""
    import torch

    with torch.no_grad():
        logits = model(torch.tensor([[_EXAMPLE_PRICE, _EXAMPLE_RATING]]))  # (1, 2)
    probability, label = logits.softmax(dim=1).max(dim=1)  # (1,) each
    return (
        f"price {_EXAMPLE_PRICE}, rating {_EXAMPLE_RATING}: {_EXAMPLE_CLASSES[int(label)]} "
        f"(probability {float(probability):.2f})"
    )


def synthetic_products(
    seed: int = DEFAULT_SEED, *, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS
) -> Dataset:
    """Draw products and split them: the first ``train_rows`` for training, the rest for test."""
    import torch

    check_seed(seed)
    if min(train_rows, test_rows) < 1:
        raise UsageError(f"each split needs a row, got {train_rows} and {test_rows}")
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "products"))
    price = 1 + 9 * torch.rand(train_rows + test_rows, generator=generator)  # (rows,)
    rating = 1 + 4 * torch.rand(train_rows + test_rows, generator=generator)  # (rows,)
    features = torch.stack((price, rating), dim=1)  # (rows, 2) float32
    labels = (price + rating > _POPULAR_ABOVE / 100).long()  # (rows,), 1 = "yes"
    rows = Rows(
        train_features=features[:train_rows],
        train_labels=labels[:train_rows],
        test_features=features[train_rows:],
        test_labels=labels[train_rows:],
    )
    return Dataset(_build_schema(("price", "rating"), rows.train_features), rows)


def _build_schema(names: tuple[str, ...], features: torch.Tensor) -> Schema:
    """Build the products' schema from the training features, ``(rows, 2)``."""
    columns = tuple(map(describe_column, names, features.numpy().T))
    return Schema(target="popular", features=columns, classes=("no", "yes"))
