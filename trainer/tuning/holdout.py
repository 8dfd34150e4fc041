"""The parts of the training rows that a search holds out in turn; test rows have no part in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from runtime.errors import DataError
from runtime.surfaces import option
from trainer.data.dataset import Rows
from trainer.data.splits import draw_numbers
from trainer.seeds import derive_seed

if TYPE_CHECKING:
    from trainer.data.dataset import Dataset

FOLDS: Final = 5


def assign_folds(labels: torch.Tensor, seed: int) -> torch.Tensor:
    """Draw the fold of each training row, ``(rows,)`` int64, the same share of every class.

    ``labels`` are ``(rows,)`` int64. A class of a few rows has none in the first fold, so that
    the trials train on it.
    """
    if len(labels) < FOLDS:
        raise DataError(
            f"{option('tune')} holds out a fifth of the training rows, and there are "
            f"{len(labels)}: fit without it, or on more rows"
        )
    order = np.lexsort((draw_numbers(len(labels), derive_seed(seed, "tuning")), labels.numpy()))
    fold = np.empty(len(labels), np.int64)
    fold[order] = np.arange(len(labels), 0, -1) % FOLDS
    return torch.from_numpy(fold)


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
