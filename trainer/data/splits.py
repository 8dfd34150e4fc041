"""Stratified splits: test rows and folds by a hash of the position, others by a permutation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from runtime.errors import DataError
from runtime.surfaces import option
from trainer.seeds import derive_seed

if TYPE_CHECKING:
    import numpy.typing as npt

    Labels = npt.NDArray[np.int64]
    Mask = npt.NDArray[np.bool_]

# SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX = ((30, np.uint64(0xBF58476D1CE4E5B9)), (27, np.uint64(0x94D049BB133111EB)))


@dataclass(frozen=True)
class ValidationSplit:
    """Positions of training and of validation rows, ``(rows,)`` int32, ascending."""

    train: torch.Tensor
    validation: torch.Tensor


def split_test(labels: Labels, share: float, seed: int) -> Mask:
    """Choose the test rows, ``(rows,)`` bool; every class keeps a row on either side.

    A function of labels, share and seed alone: the same table is split alike on every machine.
    """
    keys = draw_numbers(len(labels), derive_seed(seed, "split"))
    return _stratify(labels, keys, share, on_both_sides=True)


def split_validation(labels: torch.Tensor, share: float, seed: int) -> ValidationSplit:
    """Choose the validation rows among the training rows; ``labels`` are ``(rows,)`` int64."""
    generator = torch.Generator()
    generator.manual_seed(derive_seed(seed, "validation"))
    drawn = torch.randperm(len(labels), generator=generator).numpy()
    keys = np.empty_like(drawn)
    keys[drawn] = np.arange(len(drawn))
    chosen = torch.from_numpy(_stratify(labels.numpy(), keys, share, on_both_sides=False))
    split = ValidationSplit(*(mask.nonzero().flatten().int() for mask in (~chosen, chosen)))
    if min(len(split.train), len(split.validation)) == 0:
        raise DataError(
            f"{option('validation', share)} of {len(labels):,} training rows leaves no row for "
            f"{'validation' if len(split.validation) == 0 else 'training'}; use another share, or "
            "more rows"
        )
    return split


def split_folds(labels: torch.Tensor, folds: int, seed: int) -> torch.Tensor:
    """Draw the fold of each training row, ``(rows,)`` int16; ``labels`` are ``(rows,)`` int64.

    The rows of a class are dealt in turn, so that in each class and in all the folds' numbers of
    rows differ by one at most.
    """
    if len(labels) < folds:
        raise DataError(
            f"{option('folds', folds)} needs as many training rows, and there are {len(labels):,}: "
            "use fewer folds, or more rows"
        )
    keys = draw_numbers(len(labels), derive_seed(seed, "folds"))
    order = np.lexsort((keys, labels.numpy()))
    fold_of_row = np.empty(len(labels), np.int16)
    fold_of_row[order] = np.arange(len(labels)) % folds
    return torch.from_numpy(fold_of_row)


def _stratify(labels: Labels, keys: np.ndarray, share: float, *, on_both_sides: bool) -> Mask:
    """Choose the rows with the smallest keys, the same share of every class, ``(rows,)`` bool."""
    order = np.argsort(labels.astype(np.uint16), kind="stable")  # narrow integers sort fast
    chosen = np.zeros(len(labels), dtype=np.bool_)
    for rows in np.split(order, np.cumsum(np.bincount(labels))[:-1]):  # by class
        count = round(share * len(rows))
        if on_both_sides:
            count = min(max(count, 1), len(rows) - 1)
        if count > 0:
            chosen[rows[np.argpartition(keys[rows], count - 1)[:count]]] = True
    return chosen


def draw_numbers(rows: int, seed: int) -> npt.NDArray[np.uint64]:
    """Draw a number for every row, ``(rows,)`` uint64, from its position and the seed."""
    mixed = np.arange(1, rows + 1, dtype=np.uint64) * _STEP + np.uint64(seed)
    return mix(mixed)


def mix(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix the bits of numbers, ``(rows,)`` uint64, one to one."""
    for shift, factor in _MIX:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * factor
    return numbers ^ (numbers >> np.uint64(31))
