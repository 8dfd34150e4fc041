"""A data check in words, for people.

In: a ``DataCheck``. Out: lines of text, printable to a terminal. No errors.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from runtime.printable import printable
from trainer.table.columns import join_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.table.check import DataCheck

_NAMED = 8  # names in a line


def describe_check(check: DataCheck, label: str) -> str:
    """Write what a table holds, and below it what to look at.

    Args:
        check: of the table.
        label: name of the column that is predicted.

    Returns:
        Lines without a line break at the end.
    """
    rows = check.train_rows + check.test_rows
    lines = [
        (
            f"{rows:,} rows, {check.features:,} features; {check.train_rows:,} rows to learn from, "
            f"{check.test_rows:,} to judge by"
        ),
        f"{label!r} is {_list_classes(check, rows)}",
        *(f"  {finding}" for finding in _findings(check)),
    ]
    return "\n".join(map(printable, lines))


def _list_classes(check: DataCheck, rows: int) -> str:
    counts = sorted(((each.train + each.test, each.name) for each in check.classes), reverse=True)
    shown = [f"{name} {count:,} ({count / rows:.1%})" for count, name in counts[:_NAMED]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more classes" if more else "")


def _findings(check: DataCheck) -> Iterator[str]:
    yield from _about_cells(check)
    yield from _about_columns(check)
    yield from _about_rows(check)
    for names in check.alike:
        yield f"{_list(names)}: classes that differ in case or blanks alone; are they one?"


def _about_cells(check: DataCheck) -> Iterator[str]:
    if check.empty:
        yield f"{_list(check.empty)}: no cell is filled, left out"
    if check.missing:
        shown = [f"{each.cells:,} in {each.name!r}" for each in check.missing[:_NAMED]]
        more = len(check.missing) - len(shown)
        yield f"cells missing: {', '.join(shown)}" + (f" and {more} more columns" if more else "")
    for each in check.dates:
        kept = f", their times kept to {each.seconds:.2g} s" if each.seconds else ""
        yield f"{each.name!r}: dates, as days since {each.origin}{kept}"
    if check.rounded:
        yield f"{_list(check.rounded)}: whole numbers beyond 16,777,216, which float32 rounds"


def _about_columns(check: DataCheck) -> Iterator[str]:
    if check.constant:
        yield f"{_list(check.constant)}: the same value in every row, nothing to learn"
    for names in check.same:
        yield f"{_list(names)}: equal in every row, one is enough"
    if check.identifiers:
        yield (
            f"{_list(check.identifiers)}: another value in every row, as an identifier has; "
            f"{_leave_out(check.identifiers)}"
        )
    if check.telling:
        yield (
            f"{_list(check.telling)}: alone tells the label; if it is not known before the label "
            f"is, {_leave_out(check.telling)}"
        )


def _about_rows(check: DataCheck) -> Iterator[str]:
    if check.repeated_rows:
        yield (
            f"{check.repeated_rows:,} rows to learn from have the features of another, "
            f"{check.contradicting_rows:,} of them with another label"
        )
    if check.shared_rows:
        yield (
            f"{check.shared_rows:,} rows to judge by have the features of rows to learn from: "
            "the accuracy may flatter"
        )


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(map(repr, names[:_NAMED])) + (f" and {more} more" if more > 0 else "")


def _leave_out(names: Sequence[str]) -> str:
    return f"leave it out with --exclude {shlex.quote(join_names(names))}"
