"""The parts of the training rows that a search holds out in turn; test rows have no part in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError
from runtime.surfaces import option
from trainer.data.dataset import Rows
from trainer.data.splits import split_folds
from trainer.seeds import derive_seed

if TYPE_CHECKING:
    import torch

    from trainer.data.dataset import Dataset

FOLDS: Final = 5
_CONFIRMED_ROWS: Final = 5_000  # of more training rows one fold is enough


def plan_folds(rows: int) -> int:
    """Return on how many folds the best trials are compared, of so many training rows."""
    return FOLDS if rows <= _CONFIRMED_ROWS else 1


def assign_folds(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Draw the fold of each training row, ``(rows,)`` int16; ``labels`` are ``(rows,)`` int64.

    They are not those of an ensemble, whose members leave out folds of what is left.
    """
    if len(labels) < FOLDS:
        raise DataError(
            f"{option('tune')} holds out a fifth of the training rows, and there are "
            f"{len(labels)}: fit without it, or on more rows"
        )
    return split_folds(labels, FOLDS, derive_seed(seed, "tuning"))


def hold_out(dataset: Dataset, fold_of_row: torch.Tensor, fold: int) -> Dataset:
    """Make the dataset of the other folds, with the rows of this one in place of the test rows."""
    rows, held_out = dataset.rows, fold_of_row == fold
    return replace(
        dataset,
        rows=Rows(
            train_features=rows.train_features[~held_out],
            train_labels=rows.train_labels[~held_out],
            test_features=rows.train_features[held_out],
            test_labels=rows.train_labels[held_out],
        ),
    )
