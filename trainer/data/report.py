"""Format the data check of a table for the terminal."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from runtime.printable import printable
from trainer.config import join_names
from trainer.data.readings import format_readings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.data.dataset import DataCheck


_MAX_NAMES = 8  # names in a line


def format_report(check: DataCheck, label: str) -> str:
    """Format a check: what the table contains, column by column, then its likely problems."""
    rows = check.train_rows + check.test_rows
    lines = [
        (
            f"{rows:,} rows, {check.features:,} features; {check.train_rows:,} for training, "
            f"{check.test_rows:,} for test"
        ),
        f"{label!r}: {_list_classes(check, rows)}",
        *(f"  {line}" for line in format_readings(check.columns)),
        *(f"  {finding}" for finding in _findings(check)),
    ]
    return "\n".join(map(printable, lines))


def _list_classes(check: DataCheck, rows: int) -> str:
    counts = sorted(((each.train + each.test, each.name) for each in check.classes), reverse=True)
    shown = [f"{name} {count:,} ({count / rows:.1%})" for count, name in counts[:_MAX_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more classes" if more else "")


def _findings(check: DataCheck) -> Iterator[str]:
    yield from _about_cells(check)
    yield from _about_columns(check)
    yield from _about_rows(check)
    for names in check.similar_classes:
        yield f"{_list(names)}: classes that differ only in case or blanks; are they the same?"


def _about_cells(check: DataCheck) -> Iterator[str]:
    if check.empty:
        yield f"{_list(check.empty)}: all cells are missing, excluded"
    if check.missing:
        shown = [f"{each.cells:,} in {each.name!r}" for each in check.missing[:_MAX_NAMES]]
        more = len(check.missing) - len(shown)
        yield f"missing cells: {', '.join(shown)}" + (f" and {more} more columns" if more else "")
    for each in check.dates:
        kept = f", times with a resolution of {each.seconds:.2g} s" if each.seconds else ""
        yield f"{each.name!r}: dates, encoded as days since {each.origin}{kept}"
    if check.rounded:
        yield f"{_list(check.rounded)}: whole numbers above 16,777,216, which float32 rounds"


def _about_columns(check: DataCheck) -> Iterator[str]:
    if check.constant:
        yield f"{_list(check.constant)}: constant, nothing to learn"
    for names in check.identical:
        yield f"{_list(names)}: identical columns, one is enough"
    if check.identifiers:
        yield (
            f"{_list(check.identifiers)}: unique in every row, like an identifier; "
            f"{_exclude(check.identifiers)}"
        )
    if check.leaking:
        yield (
            f"{_list(check.leaking)}: alone determines the label, possible target leakage; if it "
            f"is not known before the label, {_exclude(check.leaking)}"
        )


def _about_rows(check: DataCheck) -> Iterator[str]:
    if check.duplicate_rows:
        yield (
            f"{check.duplicate_rows:,} of the training rows are duplicates (same features), "
            f"{check.conflicting_rows:,} with conflicting labels"
        )
    if check.leaked_rows:
        yield (
            f"{check.leaked_rows:,} of the test rows duplicate training rows: the accuracy may be "
            "too optimistic"
        )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(map(repr, names[:_MAX_NAMES])) + (f" and {more} more" if more > 0 else "")


def _exclude(names: Sequence[str]) -> str:
    return f"exclude it with --exclude {shlex.quote(join_names(names))}"
