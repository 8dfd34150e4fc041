"""Format the data check of a table for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.printable import list_names, printable
from runtime.schema.numbers import number_key
from runtime.surfaces import option
from trainer.data.column_summary import MAX_LINES, format_summaries
from trainer.data.source import advise_exclusion

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.data.dataset import DataCheck, DateColumn, RejectedRows
    from trainer.data.source import TableSource


_UNITS = {"epoch-s": "seconds", "epoch-ms": "milliseconds"}
_MAX_NAMES = 8  # names in a line
_MANY_CLASSES = 20  # of numbers are rather values of a quantity


def format_report(check: DataCheck, source: TableSource) -> str:
    """Format a check: what the table contains, column by column, then its likely problems."""
    rows = check.train_rows + check.test_rows
    lines = [
        (
            f"{rows:,} rows, {check.features:,} feature{'' if check.features == 1 else 's'}; "
            f"{check.train_rows:,} for training, "
            f"{check.test_rows:,} for test"
        ),
        f"{source.label!r}: {_list_classes(check, rows)}",
        *(f"  {line}" for line in format_summaries(check.columns)),
        *(f"  {finding}" for finding in _findings(check, source)),
    ]
    return "\n".join(map(printable, lines))


def format_rejected(rejected: Sequence[RejectedRows], source: TableSource) -> str:
    """Format the rows that were left out, a line for the table and one for the test set."""
    tables = (
        ("", {each.reason: each.rows for each in rejected}, source.rejects),
        (
            " of the test set",
            {each.reason: each.test_rows for each in rejected},
            source.test_rejects,
        ),
    )
    lines = []
    for which, counts, path in tables:
        if total := sum(counts.values()):
            listed = f", listed in {path}" if path else ""
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items() if count)
            bad_rows = "1 bad row" if total == 1 else f"{total:,} bad rows"
            lines.append(printable(f"{bad_rows}{which} left out{listed}: {reasons}"))
    return "\n".join(lines)


def _list_classes(check: DataCheck, rows: int) -> str:
    counts = sorted(((each.train + each.test, each.name) for each in check.classes), reverse=True)
    shown = [f"{name} {count:,} ({count / rows:.1%})" for count, name in counts[:_MAX_NAMES]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more classes" if more else "")


def list_column_findings(check: DataCheck, source: TableSource) -> Iterator[str]:
    """List the likely problems of the columns and classes of a table, a line each."""
    yield from _about_columns(check, source)
    yield from _about_classes(check)


def _findings(check: DataCheck, source: TableSource) -> Iterator[str]:
    yield from _about_cells(check)
    yield from _about_columns(check, source)
    yield from _about_rows(check)
    yield from _about_classes(check)


def _about_cells(check: DataCheck) -> Iterator[str]:
    described = {each.name for each in check.columns[:MAX_LINES]}  # in a line of its own
    if empty := [name for name in check.empty if name not in described]:
        yield f"{_list(empty)}: all cells are missing, excluded"
    if missing := [each for each in check.missing if each.name not in described]:
        shown = [f"{each.cells:,} in {each.name!r}" for each in missing[:_MAX_NAMES]]
        more = len(missing) - len(shown)
        yield f"missing cells: {', '.join(shown)}" + (f" and {more} more columns" if more else "")
    rare = [
        f"{each.name!r}: the {each.kept:,} most frequent categories are kept, "
        f"{each.joined:,} others joined ({each.cells:,} cells)"
        for each in check.rare or ()
    ]
    yield from _limit(rare, "columns with joined categories")
    yield from _limit(list(map(_describe_dates, check.dates)), "columns of dates")
    epochs = [
        f"{each.name!r}: whole numbers like {_UNITS[each.format]} since 1970; to read them as "
        f"dates, give {option('date_format', f'{each.name}={each.format}')}"
        for each in check.epochs or ()
    ]
    yield from _limit(epochs, "columns of such numbers")
    if check.rounded:
        yield f"{_list(check.rounded)}: numbers above 16,777,216, which float32 rounds"


def _about_columns(check: DataCheck, source: TableSource) -> Iterator[str]:
    def advise(names: Sequence[str], prefix: str) -> str:
        exclusion = advise_exclusion(source, names, check.features)
        return f"{prefix}{exclusion}" if exclusion else ""

    yield from _about_constants(check)
    identical = [f"{_list(names)}: identical columns, one is enough" for names in check.identical]
    yield from _limit(identical, "groups of identical columns")
    if check.identifiers:
        yield (
            f"{_list(check.identifiers)}: unique in every row, like an identifier"
            f"{advise(check.identifiers, '; ')}"
        )
    if check.index:
        yield (
            f"{_list(check.index)}: index of a pandas data frame"
            f"{advise(check.index, '; if it only numbers the rows, ')}"
        )
    if check.leaking:
        yield (
            f"{_list(check.leaking)}: alone determines the label, possible target leakage"
            f"{advise(check.leaking, '; if it is not known before the label, ')}"
        )


def _about_constants(check: DataCheck) -> Iterator[str]:
    """Name constant columns; numbers of a table may differ by less than float32 keeps."""
    stored = {each.name for each in check.columns if each.taken in {"number", "date"}}
    if others := [name for name in check.constant if name not in stored]:
        yield f"{_list(others)}: constant, nothing to learn"
    if numbers := [name for name in check.constant if name in stored]:
        yield f"{_list(numbers)}: constant in float32, nothing to learn"


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


def _about_classes(check: DataCheck) -> Iterator[str]:
    similar = [
        f"{_list(names)}: classes that differ only in case, blanks, Unicode form or "
        "notation; are they the same?"
        for names in check.similar_classes
    ]
    yield from _limit(similar, "groups of similar classes")
    joined = [
        f"class {each.name!r}: also spelled {_list(each.spellings)} ({each.rows:,} rows); if "
        "these are other classes, write them as texts"
        for each in check.joined_labels or ()
    ]
    yield from _limit(joined, "classes in several spellings")
    names = [each.name for each in check.classes]
    if len(names) >= _MANY_CLASSES and all(number_key(name) is not None for name in names):
        yield (
            f"{len(names)} classes, all of them numbers: each value is a class of its own; bin a "
            "quantity into ranges"
        )


def _describe_dates(column: DateColumn) -> str:
    kept = f", times with a resolution of {column.seconds:.2g} s" if column.seconds else ""
    return f"{column.name!r}: dates, encoded as days since {column.origin}{kept}"


def _limit(lines: Sequence[str], what: str) -> Iterator[str]:
    """Yield the first findings of a kind and count the others."""
    yield from lines[:_MAX_NAMES]
    if len(lines) > _MAX_NAMES:
        yield f"and {len(lines) - _MAX_NAMES:,} more {what}"


def _list(names: Sequence[str]) -> str:
    return list_names(names, _MAX_NAMES)
