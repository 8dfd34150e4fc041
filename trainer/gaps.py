"""Fit a table with missing numbers: fill them first, and put the filling into the network.

In: a dataset with NaN in its schema's gaps. Out: a dataset without, whose further inputs mark the
gaps; and, for the network fitted to it, one that takes the raw rows. No errors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import torch

from runtime.schema.features import Feature, Schema
from trainer.imputation import Imputation, measure_gaps
from trainer.model import fill_first

if TYPE_CHECKING:
    from trainer.data import Dataset
    from trainer.model import SimpleNet


@dataclass(frozen=True)
class Filled:
    """A dataset that can be fitted.

    Attributes:
        dataset: without gaps.
        imputation: that filled them; None where there were none.
    """

    dataset: Dataset
    imputation: Imputation | None = None

    def finish(self, network: SimpleNet) -> SimpleNet:
        """Make a network of raw rows out of one that was fitted to the filled ones."""
        return fill_first(network, self.imputation.eval()) if self.imputation else network


def fill_gaps(dataset: Dataset) -> Filled:
    """Fill a dataset's gaps with the means of its training rows.

    Args:
        dataset: as read.

    Returns:
        The filled dataset; the same one where there are no gaps.
    """
    places = dataset.schema.imputed_inputs
    if not places:
        return Filled(dataset)
    rows = dataset.rows
    imputation = measure_gaps(rows.train_features, places)
    with torch.no_grad():
        filled = replace(
            rows,
            train_features=imputation(rows.train_features),
            test_features=imputation(rows.test_features),
        )
    return Filled(replace(dataset, schema=_filled_schema(dataset.schema), rows=filled), imputation)


def _filled_schema(schema: Schema) -> Schema:
    """The schema of the filled rows, for the fit alone; NUL stands in no column's name."""
    features = [msgspec.structs.replace(each, missing="refused") for each in schema.features]
    marks = [Feature(f"{schema.inputs[at]}\0missing", 0, 1) for at in schema.imputed_inputs]
    return Schema(schema.target, (*features, *marks), schema.classes)
