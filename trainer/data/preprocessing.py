"""Statistics of the training rows: standardisation, imputation, encoding and class weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Final

import msgspec
import torch

from runtime.errors import DataError
from runtime.schema.features import Feature, Schema
from runtime.surfaces import option
from trainer.data.binning import find_far, fit_encoding
from trainer.data.splits import split_validation
from trainer.model import Imputation, Standardisation, prepend_stages

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from trainer.config import ClassWeights, Configuration
    from trainer.data.dataset import Dataset, Rows
    from trainer.model import SimpleNet
    from trainer.piecewise import PiecewiseLinearEncoding

_BLOCK_NUMBERS, _MIN_BLOCK_ROWS = 2**15, 1024  # a block of 256 KiB in float64

_ENCODED_ROWS: Final = 4096  # at a time
# A standard deviation by which float32 weights can be divided, and that of a constant, relative to
# its mean: rounding of the statistics alone.
_SMALLEST_STD, _LARGEST_STD = 2.0**-100, 2.0**110
_CONSTANT: Final = 2.0**-44
_LARGE: Final = 2.0**126  # a quarter of float32's largest, which tables have for no data
_DERIVED: Final = "\0"  # after the name of a column, in that of an input made from it
_IS_MISSING: Final = f"{_DERIVED}is missing"


def fit_standardisation(
    features: torch.Tensor, chosen: torch.Tensor | None = None, indicators: Sequence[int] = ()
) -> Standardisation:
    """Compute mean and population standard deviation block by block, without copying the table.

    A constant column has an infinite one: what was never seen to vary has no influence. Divided by
    1, its initial weights would stay in the network, and a large constant times these, rounded,
    would be noise.

    ``indicators`` are positions of inputs of 0 and 1 that are only centred: divided by its standard
    deviation a rare category would outweigh all numbers.

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
    is_constant = std <= _CONSTANT * mean.abs()
    std[list(indicators)] = 1.0
    return Standardisation(mean=mean, std=torch.where(is_constant, torch.inf, std))


def check_spread(scale: Standardisation, schema: Schema) -> None:
    """Refuse inputs whose numbers float32 weights cannot be scaled to, naming the column."""
    usable = (scale.std >= _SMALLEST_STD) & (scale.std <= _LARGEST_STD) | scale.std.isinf()
    for at in (~usable).nonzero().flatten().tolist():
        name, std = schema.inputs[at], float(scale.std[at])
        raise DataError(
            f"column {name!r} has a standard deviation of {std:.1e}, too "
            f"{'small' if std < 1 else 'large'} for a network in float32: "
            f"{_advise_on_extreme(schema, at)}multiply its numbers by a power of ten "
            f"({_SMALLEST_STD:.0e} to {_LARGEST_STD:.0e} can be used), or leave it out with "
            f"{option('exclude', name)}"
        )


def _advise_on_extreme(schema: Schema, at: int) -> str:
    """Advise what to do if a column's largest number, near float32's, stands for no number."""
    feature = schema.numeric_features[at]
    extreme = max(feature.minimum, feature.maximum, key=abs)
    if abs(extreme) < _LARGE:
        return ""
    what = f"if {extreme:.3g} means that there is none"
    return f"{what}, name it as the table has it with {option('missing')}; else "


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
class PreprocessedDataset:
    """A dataset as the layers of a network see it.

    Attributes:
        dataset: without missing values and with an indicator column for each gap, then one column
            for each bin of the encoding.
        imputation: None if nothing was missing.
        encoding: None without bins.
    """

    dataset: Dataset
    imputation: Imputation | None = None
    encoding: PiecewiseLinearEncoding | None = None

    def restore_inputs(self, network: SimpleNet) -> SimpleNet:
        """Make a network of the original rows from one trained on the preprocessed rows."""
        return prepend_stages(network, self.imputation, self.encoding)


def preprocess_dataset(dataset: Dataset, configuration: Configuration) -> PreprocessedDataset:
    """Impute missing values and encode numbers, by the statistics of the training rows.

    The stages compute what they will compute inside the network, to the bit. Of numbers far from 0,
    which a bin replaces, 0 is left: a constant, which has no influence.
    """
    imputed = impute_dataset(dataset)
    if not (configuration.bins or configuration.standardise):
        return imputed
    numeric = dataset.schema.numeric_features
    seen = _without_validation(dataset.rows, configuration)
    far = find_far(seen, numeric) if configuration.standardise else {}
    encoding = fit_encoding(
        seen, tuple(numeric), configuration.bins, far, divides_uneven=configuration.standardise
    )
    if encoding is None:
        return imputed
    rows = imputed.dataset.rows
    encoded = replace(
        rows,
        train_features=_encode(rows.train_features, encoding, list(far)),
        test_features=_encode(rows.test_features, encoding, list(far)),
    )
    schema = _encoded_schema(imputed.dataset.schema, encoding.positions.tolist(), far)
    whole = replace(imputed.dataset, schema=schema, rows=encoded)
    return PreprocessedDataset(whole, imputed.imputation, encoding)


def _without_validation(rows: Rows, configuration: Configuration) -> torch.Tensor:
    """Return the features of the training rows that are not held out."""
    if not configuration.validation:
        return rows.train_features
    split = split_validation(rows.train_labels, configuration.validation, configuration.seed)
    return rows.train_features[split.train]


def _encode(
    features: torch.Tensor, encoding: PiecewiseLinearEncoding, replaced: list[int]
) -> torch.Tensor:
    """Encode rows block by block, so that intermediate values take little memory."""
    width = features.shape[1] + len(encoding.positions)
    encoded = torch.empty(len(features), width)
    for block, target in zip(
        torch.split(features, _ENCODED_ROWS), torch.split(encoded, _ENCODED_ROWS), strict=True
    ):
        target.copy_(encoding(block))
    encoded[:, replaced] = 0.0
    return encoded


def impute_dataset(dataset: Dataset) -> PreprocessedDataset:
    """Replace missing values by the means of the training rows."""
    missing = dataset.schema.imputed_inputs
    if not missing:
        return PreprocessedDataset(dataset)
    rows = dataset.rows
    imputation = fit_imputation(rows.train_features, missing)
    with torch.no_grad():
        imputed = replace(
            rows,
            train_features=imputation(rows.train_features),
            test_features=imputation(rows.test_features),
        )
    schema = _imputed_schema(dataset.schema)
    return PreprocessedDataset(replace(dataset, schema=schema, rows=imputed), imputation)


def indicator_inputs(schema: Schema) -> list[int]:
    """Find the inputs of preprocessed rows that tell categories or missing values by 0 and 1."""
    numeric = schema.numeric_features
    return [
        position
        for position in range(schema.n_inputs)
        if position not in numeric or numeric[position].name.endswith(_IS_MISSING)
    ]


def input_names(schema: Schema) -> tuple[str, ...]:
    """Name the inputs of preprocessed rows for people."""
    return tuple(name.replace(_DERIVED, " ") for name in schema.inputs)


def column_names(schema: Schema) -> list[str]:
    """Name the columns of a table whose rows were preprocessed."""
    return [feature.name for feature in schema.features if _DERIVED not in feature.name]


def _imputed_schema(schema: Schema) -> Schema:
    """Make the schema of imputed rows."""
    features = [msgspec.structs.replace(each, missing="refused") for each in schema.features]
    indicators = [f"{schema.inputs[at]}{_IS_MISSING}" for at in schema.imputed_inputs]
    return _extend(msgspec.structs.replace(schema, features=tuple(features)), indicators)


def _encoded_schema(schema: Schema, positions: Sequence[int], replaced: Collection[int]) -> Schema:
    """Make the schema of encoded rows, from the position of each bin's input."""
    zeros = {schema.inputs[at] for at in replaced}
    features = [
        Feature(each.name, 0, 0) if each.name in zeros else each for each in schema.features
    ]
    schema = msgspec.structs.replace(schema, features=tuple(features))
    numbers = (number for _, bins in groupby(positions) for number, _ in enumerate(bins, start=1))
    names = zip(positions, numbers, strict=True)
    return _extend(schema, [f"{schema.inputs[at]}{_DERIVED}bin {number}" for at, number in names])


def _extend(schema: Schema, derived: Sequence[str]) -> Schema:
    """Append inputs from 0 to 1 to a schema; no column name contains NUL."""
    features = (*schema.features, *(Feature(name, 0, 1) for name in derived))
    return Schema(schema.target, features, schema.classes)
