"""What a fit learns from: rows as tensors, split, with their schema and digest.

In: a seed. Out: a ``Dataset`` on the CPU: the tutorial's synthetic products. One's own table is
read by ``trainer.table``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from runtime.errors import UsageError
from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature, Schema
from trainer.run import Rows
from trainer.seeds import DEFAULT_SEED, check_seed, derive_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from runtime.bundle.manifest import Scalar
    from trainer.table.check import DataCheck

TRAIN_ROWS = 800
TEST_ROWS = 200
_POPULAR_ABOVE = 10


@dataclass(frozen=True)
class Dataset:
    """Rows to learn from and rows to judge by.

    Attributes:
        schema: columns and classes, ranges and deciles as seen in the training rows.
        rows: training and test rows.
        check: what is worth knowing of them; of the user's own table.
        options: that made them, for the run's record.
        seconds: that reading them took.
    """

    schema: Schema
    rows: Rows
    check: DataCheck | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)
    seconds: float = 0.0

    def digest(self) -> str:
        """SHA-256 over the bytes of all tensors, in the order of ``Rows``."""
        sha256 = hashlib.sha256()
        for tensor in self.rows.by_name().values():
            sha256.update(tensor.contiguous().numpy().data)
        return sha256.hexdigest()


def synthetic_products(
    seed: int = DEFAULT_SEED, *, train_rows: int = TRAIN_ROWS, test_rows: int = TEST_ROWS
) -> Dataset:
    """Draw products: popular means that price and rating sum to more than 10.

    Args:
        seed: of the draws.
        train_rows: the first products drawn.
        test_rows: the products after them.

    Returns:
        The products, split.

    Raises:
        UsageError: when the seed or a number of rows is out of its range.
    """
    check_seed(seed)
    if min(train_rows, test_rows) < 1:
        raise UsageError(f"each split needs a row, got {train_rows} and {test_rows}")
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "products"))
    price = 1 + 9 * torch.rand(train_rows + test_rows, generator=generator)  # (rows,)
    rating = 1 + 4 * torch.rand(train_rows + test_rows, generator=generator)  # (rows,)
    features = torch.stack((price, rating), dim=1)  # (rows, 2) float32
    labels = (price + rating > _POPULAR_ABOVE).long()  # (rows,), 1 = "yes"
    rows = Rows(
        train_features=features[:train_rows],
        train_labels=labels[:train_rows],
        test_features=features[train_rows:],
        test_labels=labels[train_rows:],
    )
    return Dataset(_describe(("price", "rating"), rows.train_features), rows)


def _describe(names: tuple[str, ...], features: torch.Tensor) -> Schema:
    """The products' schema, with the distribution of ``features``, ``(rows, n_features)``."""
    columns = tuple(map(describe_column, names, features.numpy().T))
    return Schema(target="popular", features=columns, classes=("no", "yes"))


def describe_column(name: str, values: npt.NDArray[np.float32]) -> Feature:
    """Describe a feature as the training rows show it.

    Args:
        name: of the feature.
        values: ``(rows,)`` float32, finite.

    Returns:
        The feature with range, deciles and shares.
    """
    seen = describe_values(values)
    return Feature(
        name,
        minimum=seen.quantiles[0],
        maximum=seen.quantiles[-1],
        quantiles=seen.quantiles,
        shares=seen.shares,
    )
