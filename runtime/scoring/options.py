"""How a table is scored: what a user can choose, with the defaults.

What the command takes as text is taken as text here too: ``Options(out_format="csv.gz",
drift="drift.json", reading=ReadOptions(delimiter=";"))``. Raises ``UsageError`` for what cannot be.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from runtime.choices import BadRows
from runtime.errors import UsageError
from runtime.io.paths import STANDARD_STREAM, is_special
from runtime.tables.options import ReadOptions, parse_format_option, parse_text_option
from runtime.value import Value

if TYPE_CHECKING:
    from runtime.tables.formats import Format


def _refuse_one_name(text: str) -> object:
    raise UsageError(f"columns is a list of names: give [{text!r}]")


class Options(Value, frozen=True):
    """How to score.

    Attributes:
        reading: how the table is read.
        out_format: of the output; None follows its name, and without a name the table.
        bad_rows: ``fail`` refuses the file, ``reject`` leaves bad rows out and lists them in a
            file of their own, ``null`` keeps them in place with empty answers and a reason.
        columns: names of the columns that are carried along; None carries all.
        proba: add one column a class with its probability.
        prefix: put before each new column's name.
        rejects: where bad rows are listed; by default the output's name and ``.rejects.csv``.
        truth: name of the column that holds the true class, for accuracy.
        drift: where to write how the rows differ from training's, as JSON.
        threads: how many blocks are scored at once; by default one a processor, at most 8.
    """

    reading: ReadOptions = ReadOptions()
    out_format: Format | None = None
    bad_rows: BadRows = "fail"
    columns: tuple[str, ...] | None = None
    proba: bool = False
    prefix: str = ""
    rejects: Path | None = None
    truth: str | None = None
    drift: Path | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.bad_rows not in get_args(BadRows):
            choices = ", ".join(get_args(BadRows))
            raise UsageError(f"no policy {self.bad_rows!r} for bad rows: choose {choices}")
        if self.rejects and self.bad_rows != "reject":
            raise UsageError("--rejects lists what --bad-rows reject leaves out: give both")
        if self.threads is not None and self.threads < 1:
            raise UsageError(f"{self.threads} threads score nothing: give 1 or more")
        parse_text_option(self, "out_format", parse_format_option)
        parse_text_option(self, "rejects", Path)
        parse_text_option(self, "drift", Path)
        parse_text_option(self, "columns", _refuse_one_name)


DEFAULTS = Options()


def rejects_path(out: Path, options: Options) -> Path | None:
    """Settle where rejected rows are listed."""
    if options.bad_rows != "reject":
        return None
    beside = options.rejects is None
    if options.rejects == STANDARD_STREAM or (
        beside and (out == STANDARD_STREAM or is_special(out))
    ):
        raise UsageError(
            "--bad-rows reject lists bad rows in a file beside the output: "
            "give --out FILE or --rejects FILE"
        )
    return options.rejects or out.parent / f"{out.name}.rejects.csv"
