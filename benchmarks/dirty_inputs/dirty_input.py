"""A dirty input: the bytes of a file, and the expected result.

The tables have the columns that the tests' bundle reads, ``price`` and ``rating``, and others.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Content = bytes | dict[str, bytes]
Row = tuple[float, float] | str
BEFORE: Final = (7.5, 3.0)
AFTER: Final = (5.5, 4.25)


@dataclass(frozen=True)
class DirtyInput:
    """One input with something wrong, or something that looks wrong.

    Attributes:
        kind: what it is an example of, for reports.
        name: unlike any other.
        content: the bytes of ``file``, or those of several files by name.
        rows: the known right rows in order: price and rating, or the reason why there are none;
            None for what is refused as a whole.
        says: part of the message, where one is expected.
        code: exit code where the whole is refused.
        file: under which name it is given: a file, a folder or a pattern.
        options: of the command.
        holds: right rows that stand in what is refused as a whole, so that a reader that finds
            them is right, too; None for what holds none.
    """

    kind: str
    name: str
    content: Content | Callable[[], Content]
    rows: tuple[Row, ...] | None = None
    says: str = ""
    code: int = 3
    file: str = "table.csv"
    options: tuple[str, ...] = field(default=())
    holds: tuple[Row, ...] | None = None

    @property
    def bad(self) -> list[str]:
        """Reasons of the rows that cannot be scored."""
        return [row for row in self.rows or () if isinstance(row, str)]

    @property
    def is_delimited(self) -> bool:
        """Whether it is one file that readers of CSV are made for, without options of ours."""
        path = Path(self.file)
        named = {".csv", ".tsv", ".gz", ".zst", ".bz2"} >= set(path.suffixes) and path.suffix != ""
        needs_ours = {"--format", "--columns", "--prefix", "--truth", "--rejects", "--threads"}
        single = not isinstance(self.content, dict) and not set("*?[") & set(self.file)
        return named and single and not needs_ours & set(self.options)

    def write(self, folder: Path) -> Path:
        """Write it.

        Args:
            folder: where.

        Returns:
            What to give to the command.
        """
        content = self.content() if callable(self.content) else self.content
        files: Mapping[str, bytes] = content if isinstance(content, dict) else {self.file: content}
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder / self.file


def lines(*records: str | bytes, end: str | bytes = b"\n") -> bytes:
    """Write records, each with a line end."""
    return b"".join(_bytes(record) + _bytes(end) for record in records)


def table(*records: str | bytes, header: str | bytes = "id,price,rating") -> bytes:
    """Write a table of comma-separated text."""
    return lines(header, *records)


def between(*records: str | bytes) -> bytes:
    """Write a table with a good row before and after these."""
    return table("1,7.5,3", *records, "9,5.5,4.25")


def rows_between(*rows: Row) -> tuple[Row, ...]:
    """Say what is right for ``between``."""
    return (BEFORE, *rows, AFTER)


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
