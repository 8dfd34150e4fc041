"""Options for scoring, with their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from runtime.choices import BadRows
from runtime.errors import UsageError
from runtime.io.paths import STANDARD_STREAM, is_special, parse_location
from runtime.surfaces import option
from runtime.tables.options import ReadOptions, parse_format_option, parse_text_option
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.io.paths import Location
    from runtime.schema.classes import Proba
    from runtime.tables.formats import Format


def _refuse_str(text: str) -> object:
    raise UsageError(f"columns must be a list of names: give [{text!r}]")


class Options(Value, frozen=True):
    """How to score a table.

    Values can be given as text, as on the command line: ``Options(out_format="csv.gz")``.

    Attributes:
        reading: how to read the table.
        out_format: format of the output; None detects it from the name, else from the table.
        bad_rows: ``fail`` refuses the table, ``reject`` moves bad rows to the rejects file,
            ``null`` keeps them with empty predictions and a reason.
        columns: names of the columns to write; None for all.
        proba: add a column with the probability of each class (``all`` or true), of the positive
            one of two (``positive``), or of the class of that name.
        prefix: of the names of new columns.
        rejects: path of the rejects file; by default the output's with ``.rejects.csv``.
        truth: name of the column with the true class, for accuracy.
        drift: path of the drift report, JSON.
        force: replace files that are not outputs of the same kind.
        no_overwrite: replace nothing: a file that exists, or that is made meanwhile, stays.
        threads: number of blocks to score in parallel; by default one per processor, at most 8.

    Raises:
        UsageError: when a value is invalid, ``rejects`` is given without ``bad_rows="reject"``, or
            ``force`` with ``no_overwrite``.
    """

    reading: ReadOptions = ReadOptions()
    out_format: Format | None = None
    bad_rows: BadRows = "fail"
    columns: tuple[str, ...] | None = None
    proba: Proba = False
    prefix: str = ""
    rejects: Location | None = None
    truth: str | None = None
    drift: Location | None = None
    force: bool = False
    no_overwrite: bool = False
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bad_rows not in get_args(BadRows):
            choices = ", ".join(get_args(BadRows))
            raise UsageError(f"unknown policy {self.bad_rows!r} for bad rows: choose {choices}")
        if self.rejects and self.bad_rows != "reject":
            raise UsageError(f"{option('rejects')} needs {option('bad_rows', 'reject')}: give both")
        if self.force and self.no_overwrite:
            raise UsageError(
                f"{option('force', True)} and {option('no_overwrite', True)} exclude each other"
            )
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"invalid number of threads {self.threads}: give 1 or more")
        parse_text_option(self, "out_format", parse_format_option)
        parse_text_option(self, "rejects", parse_location)
        parse_text_option(self, "drift", parse_location)
        parse_text_option(self, "columns", _refuse_str)


DEFAULTS = Options()


def rejects_path(out: Location, options: Options) -> Location | None:
    """Choose the path of the rejects file; None without one."""
    if options.bad_rows != "reject":
        return None
    is_default = options.rejects is None
    if options.rejects == STANDARD_STREAM or (
        is_default and (out == STANDARD_STREAM or is_special(out))
    ):
        raise UsageError(
            f"{option('bad_rows', 'reject')} writes bad rows to a file: "
            f"give {option('out', blank='FILE')} or {option('rejects', blank='FILE')}"
        )
    return options.rejects or out.parent / f"{out.name}.rejects.csv"
