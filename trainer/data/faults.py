"""Gather the faults of a table: checks continue, and one message has them all."""

from __future__ import annotations

from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, SchemaError
from runtime.printable import list_first
from runtime.surfaces import advise, option
from trainer.data.decimal_signs import describe_mixed_signs
from trainer.data.source import advise_exclusion

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from trainer.data.source import TableSource

_MAX_FAULTS = 10  # in a message; each has a bounded length
_MAX_FINDINGS = 10
NOTHING_FITTED: Final = "nothing was fitted"


class Faults:
    """The faults of a table so far.

    Attributes:
        columns: names of the columns that cannot be used.
    """

    def __init__(self, source: TableSource) -> None:
        """Start without faults."""
        self._source = source
        self._errors: dict[str, DataError] = {}
        self.columns: dict[str, None] = {}
        self._missing: set[frozenset[str]] = set()  # by fault

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._errors)

    def add(
        self, error: DataError, columns: Collection[str] = (), missing: Iterable[str] = ()
    ) -> None:
        """Add a fault, the ``columns`` that cannot be used because of it, and words for missing."""
        self._errors.setdefault(str(error), error)
        self.columns.update(dict.fromkeys(columns))
        if words := frozenset(missing):
            self._missing.add(words)

    def merge(self, other: Faults) -> None:
        """Add the faults of another pass."""
        for error in other._errors.values():
            self.add(error, other.columns)
        self._missing |= other._missing

    @contextmanager
    def gather(self, *columns: str) -> Iterator[None]:
        """Add the fault that the block raises."""
        try:
            yield
        except DataError as exc:
            self.add(exc, columns)

    def to_error(self, n_features: int, findings: Sequence[str] = ()) -> DataError:
        """Make the error with all of them, and with ``findings`` that alone refuse no table."""
        also = [
            "also found:",
            *(f"  {finding}" for finding in findings[:_MAX_FINDINGS]),
            *([f"  … and {len(findings) - _MAX_FINDINGS} more"] * (len(findings) > _MAX_FINDINGS)),
        ]
        errors, (texts, mixed) = list(self._errors.values()), self._check_decimal()
        ending = [*mixed, *(also if findings else [])]
        if len(errors) == 1:
            return type(errors[0])("\n".join([*texts, *ending]))
        where = str(self._source.data)
        lines = [f"{where}: {len(errors)} faults; {NOTHING_FITTED}"]
        for number, text in enumerate(texts[:_MAX_FAULTS], start=1):
            first, *others = text.removeprefix(f"{where}: ").split("\n")
            first = first.removesuffix(f"; {NOTHING_FITTED}")
            lines += [f"{number}. {first}", *(f"   {line}" for line in others)]
        if len(errors) > _MAX_FAULTS:
            lines.append(f"… and {len(errors) - _MAX_FAULTS} more faults")
        is_schema = all(isinstance(error, SchemaError) for error in errors)
        of_class = SchemaError if is_schema else DataError
        return of_class("\n".join([*lines, *self._advise(n_features), *ending]))

    def _check_decimal(self) -> tuple[list[str], list[str]]:
        """Replace the advice of another --decimal where the table mixes both signs; report that."""
        texts, given = list(self._errors), self._source.reading.decimal
        advice = f"give {option('decimal', ',' if given == '.' else '.')}"
        if not any(advice in text for text in texts):
            return texts, []
        mixed = describe_mixed_signs(self._source)
        if mixed is None:
            return texts, []
        return [text.replace(advice, "write all numbers with one sign") for text in texts], [mixed]

    def _advise(self, n_features: int) -> list[str]:
        """Name one option for the columns of several faults: a repeated one would replace it."""
        names, lines = list(self.columns), []
        if len(self._missing) > 1:
            words = sorted({*self._source.missing, *chain.from_iterable(self._missing)})
            lines.append(f"if all of these mean missing, {advise('missing', words)}")
        exclusion = advise_exclusion(self._source, names, n_features) if len(names) > 1 else None
        if exclusion:
            listed = list_first(list(map(repr, names)))
            lines.append(f"columns {listed} are at fault: fix, or {exclusion}")
        return lines
