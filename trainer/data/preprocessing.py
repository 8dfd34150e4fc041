"""Statistics of the training rows: standardisation, imputation and class weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec
import torch

from runtime.schema.features import Feature, Schema
from trainer.model import Imputation, Standardisation, prepend_imputation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config import ClassWeights
    from trainer.data.dataset import Dataset
    from trainer.model import SimpleNet

_BLOCK_NUMBERS, _MIN_BLOCK_ROWS = 2**15, 1024  # a block of 256 KiB in float64

_INDICATOR: Final = "\0missing"  # after the name of an input


def fit_standardisation(
    features: torch.Tensor, chosen: torch.Tensor | None = None
) -> Standardisation:
    """Compute mean and population standard deviation block by block, without copying the table.

    Blocks are merged as in Chan, Golub and LeVeque, Updating Formulae and a Pairwise Algorithm
    for Computing Sample Variances (1979), equation 1.5. ``chosen`` are positions of rows; None is
    all of them.
    """
    block_rows = max(_MIN_BLOCK_ROWS, _BLOCK_NUMBERS // features.shape[1])
    blocks = torch.split(features if chosen is None else chosen, block_rows)
    rows, mean, std = 0, torch.zeros(()), torch.zeros(())
    for block in blocks:
        values = (block if chosen is None else features[block]).double()
        block_std, block_mean = torch.std_mean(values, dim=0, correction=0)  # (n_features,) each
        if rows:
            mean, std = _merge((rows, mean, std), (len(values), block_mean, block_std))
        else:
            mean, std = block_mean, block_std
        rows += len(values)
    return Standardisation(mean=mean, std=torch.where(std > 0, std, 1.0))


_Moments = tuple[int, torch.Tensor, torch.Tensor]  # rows, mean, standard deviation


def _merge(one: _Moments, other: _Moments) -> tuple[torch.Tensor, torch.Tensor]:
    """Merge mean and standard deviation of two blocks."""
    rows = one[0] + other[0]
    delta = other[1] - one[1]  # (n_features,)
    mean = one[1] + delta * (other[0] / rows)
    squares = one[0] * one[2] ** 2 + other[0] * other[2] ** 2
    return mean, ((squares + delta**2 * (one[0] * other[0] / rows)) / rows).sqrt()


def compute_class_weights(
    labels: torch.Tensor, n_classes: int, kind: ClassWeights
) -> torch.Tensor | None:
    """Compute the loss weight of each class, ``(n_classes,)`` float32; None weights all equally.

    Balanced is rows / (classes * rows of the class), as in scikit-learn; 0 for an empty class.
    """
    if kind == "none":
        return None
    counts = labels.bincount(minlength=n_classes).double()  # (n_classes,)
    weights = len(labels) / (n_classes * counts)
    weights[counts == 0] = 0.0
    return weights.float()


def fit_imputation(inputs: torch.Tensor, imputed: Sequence[int]) -> Imputation:
    """Compute the means that replace missing values, 0 for an input without any value.

    ``inputs`` are ``(rows, n_inputs)`` float32 with NaN for missing; ``imputed`` are the positions
    of those that may be missing.
    """
    means = torch.nanmean(inputs.double(), dim=0)  # (n_inputs,)
    return Imputation(torch.nan_to_num(means, nan=0.0).float(), imputed)


@dataclass(frozen=True)
class ImputedDataset:
    """A dataset without missing values.

    Attributes:
        dataset: imputed, with an indicator column for each gap.
        imputation: None if nothing was missing.
    """

    dataset: Dataset
    imputation: Imputation | None = None

    def restore_inputs(self, network: SimpleNet) -> SimpleNet:
        """Make a network of the original rows from one trained on the imputed rows."""
        return prepend_imputation(network, self.imputation.eval()) if self.imputation else network


def impute_dataset(dataset: Dataset) -> ImputedDataset:
    """Replace missing values by the means of the training rows."""
    missing = dataset.schema.imputed_inputs
    if not missing:
        return ImputedDataset(dataset)
    rows = dataset.rows
    imputation = fit_imputation(rows.train_features, missing)
    with torch.no_grad():
        imputed = replace(
            rows,
            train_features=imputation(rows.train_features),
            test_features=imputation(rows.test_features),
        )
    schema = _imputed_schema(dataset.schema)
    return ImputedDataset(replace(dataset, schema=schema, rows=imputed), imputation)


def input_names(schema: Schema) -> tuple[str, ...]:
    """Name the inputs of imputed rows for people."""
    return tuple(name.replace(_INDICATOR, " is missing") for name in schema.inputs)


def column_names(schema: Schema) -> list[str]:
    """Name the columns of a table whose rows were imputed."""
    names = (feature.name for feature in schema.features)
    return [name for name in names if not name.endswith(_INDICATOR)]


def _imputed_schema(schema: Schema) -> Schema:
    """Make the schema of imputed rows; no column name contains NUL."""
    features = [msgspec.structs.replace(each, missing="refused") for each in schema.features]
    indicators = [Feature(f"{schema.inputs[at]}{_INDICATOR}", 0, 1) for at in schema.imputed_inputs]
    return Schema(schema.target, (*features, *indicators), schema.classes)
