"""Which table is fitted, and which of its columns: what a user says of it.

In: options as they were given. Out: a ``TableSource``, or a ``UsageError``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from runtime.errors import UsageError
from runtime.io.paths import STANDARD_STREAM
from runtime.tables.options import ReadOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.schema.features import Unseen

TEST_FRACTION = 0.2  # of each class's rows, where no test table is given


@dataclass(frozen=True)
class TableSource:
    """A table with a column to predict.

    Attributes:
        data: the table; it is read twice, so standard input is none.
        label: name of the column to predict.
        features: names of the columns to predict from; None takes all others.
        exclude: names of columns to leave out.
        categories: names of columns that hold categories though they look like numbers.
        unseen: what a category is that training did not have: a bad cell (``error``), or none of
            those it had (``other``).
        test: a table of rows to judge by; None takes a part of ``data``.
        test_fraction: how much of each class that part is, above 0 and below 1; None means
            ``TEST_FRACTION``.
        reading: how both tables are read.
    """

    data: Path
    label: str
    features: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    unseen: Unseen = "error"
    test: Path | None = None
    test_fraction: float | None = None
    reading: ReadOptions = field(default_factory=ReadOptions)

    def __post_init__(self) -> None:
        if STANDARD_STREAM in {self.data, self.test}:
            raise UsageError("a table to fit is read twice: give a file, not standard input")
        if self.test is not None and self.test_fraction is not None:
            raise UsageError("--test and --test-fraction are two ways to judge: give one")
        if self.test_fraction is not None and not 0 < self.test_fraction < 1:
            raise UsageError(
                f"the test fraction must be above 0 and below 1, got {self.test_fraction}"
            )
        if self.label in (self.features or ()):
            raise UsageError(f"{self.label!r} is the label: it cannot be among --features")
        if self.label in self.categories:
            raise UsageError(f"{self.label!r} is the label: it cannot be among --categories")
        if both := sorted(set(self.features or ()) & set(self.exclude)):
            raise UsageError(f"{both[0]!r} is in --features and in --exclude; name it in one")

    @property
    def share(self) -> float:
        """How much of each class's rows is set aside to judge by; 0 with a table for that."""
        if self.test is not None:
            return 0.0
        return TEST_FRACTION if self.test_fraction is None else self.test_fraction

    @property
    def wanted(self) -> tuple[str, ...]:
        """Names that the table should have, by which the delimiter of text is told."""
        return (self.label, *(self.features or ()), *self.exclude, *self.categories)


def name_table(
    data: Path | None, label: str | None, beside: Mapping[str, object]
) -> tuple[Path, str] | None:
    """See whether a table was named, with the column to predict.

    Args:
        data: the table.
        label: the column.
        beside: options that say more of it, by their names; None where not given.

    Returns:
        Both, or None where neither was named.

    Raises:
        UsageError: when one is missing, or both and something else was said of them.
    """
    if data is not None and label is not None:
        return data, label
    missing = " and ".join(
        option for option, value in (("--data", data), ("--label", label)) if value is None
    )
    if data is None and label is None:
        given = [option for option, value in beside.items() if value is not None]
        if not given:
            return None
        raise UsageError(f"{given[0]} is of a table of yours: give it with {missing}")
    raise UsageError(f"a table of yours is --data FILE --label COLUMN: give {missing}, too")
