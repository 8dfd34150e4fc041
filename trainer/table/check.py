"""What was found of a table before it was fitted: printed, and stored in the run.

In: figures, by ``trainer.table.examination``. Out: ``DataCheck``, to be written as JSON. No errors.
"""

from __future__ import annotations

from runtime.bundle.manifest import Record


class ClassRows(Record, frozen=True):
    """How many rows of a class there are to learn from (``train``) and to judge by (``test``)."""

    name: str
    train: int
    test: int


class Missing(Record, frozen=True):
    """A column and how many of its ``cells`` are not filled."""

    name: str
    cells: int


class Dates(Record, frozen=True):
    """A column of dates: since when it counts days, and to how many seconds float32 keeps them."""

    name: str
    origin: str
    seconds: float


class DataCheck(Record, frozen=True):
    """What a table holds, and what may be wrong with it.

    Attributes:
        train_rows: to learn from.
        test_rows: to judge by.
        features: columns that are used.
        classes: rows of each class.
        empty: columns left out, because no cell of them is filled.
        missing: columns with cells that are not filled.
        dates: columns of dates.
        constant: columns with one value in all rows to learn from.
        same: columns that are equal to one another in every row, group by group.
        repeated_rows: rows to learn from whose features another row before them has, too.
        contradicting_rows: of these, those whose label is another one.
        shared_rows: rows to judge by whose features are among those to learn from.
        identifiers: columns with another text in every row, or another whole number, close to
            one another or in order.
        telling: columns that alone tell the label.
        rounded: columns of whole numbers so large that float32 rounds them.
        alike: classes whose names differ in case and surrounding blanks alone.
    """

    train_rows: int
    test_rows: int
    features: int
    classes: tuple[ClassRows, ...]
    empty: tuple[str, ...] = ()
    missing: tuple[Missing, ...] = ()
    dates: tuple[Dates, ...] = ()
    constant: tuple[str, ...] = ()
    same: tuple[tuple[str, ...], ...] = ()
    repeated_rows: int = 0
    contradicting_rows: int = 0
    shared_rows: int = 0
    identifiers: tuple[str, ...] = ()
    telling: tuple[str, ...] = ()
    rounded: tuple[str, ...] = ()
    alike: tuple[tuple[str, ...], ...] = ()
