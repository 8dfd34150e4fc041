"""The tables of a folder or glob pattern as one table."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from msgspec.structs import replace

from runtime import surfaces
from runtime.errors import DataError, SchemaError, UsageError, first_line
from runtime.io.discovery import find_tables
from runtime.io.paths import is_folder_or_pattern
from runtime.tables.dialect import COMMA, Dialect
from runtime.tables.formats import Format, format_from_name
from runtime.tables.memory import MemoryTable
from runtime.tables.opening import open_table
from runtime.tables.partitions import PartitionBlock, PartitionValue, partition_keys
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runtime.choices import Decimal
    from runtime.io.charsets import Encoding
    from runtime.io.paths import Location
    from runtime.tables.base import Table
    from runtime.tables.options import ReadOptions

    # A name of a column, and how often it occurred before.
    Place = tuple[str, int]


@contextmanager
def open_tables(
    source: Location | MemoryTable, options: ReadOptions, required: Sequence[str], *, option: str
) -> Iterator[Table]:
    """Open a table, or those of a folder or pattern as one; ``option`` names it in messages.

    Required columns that the table lacks may be keys of the folders of its path.
    """
    if isinstance(source, MemoryTable):
        yield source.open(options.decimal)
    elif is_folder_or_pattern(source) or not partition_keys(source).keys().isdisjoint(required):
        yield FolderTable(source, options, required, option=option)
    else:
        with open_table(source, options, required) as table:
            yield table


def check_formats(root: Location, tables: Sequence[Path], option: str) -> None:
    """Refuse files that are not tables: skipping them could hide a loss."""
    for name in tables:
        try:
            format_from_name(root / name)
        except UsageError as exc:
            example = str(root / "**" / "*.csv")
            raise UsageError(
                f"{exc}; or select the tables: {surfaces.option(option, example)}"
            ) from exc


class _File(Value, frozen=True):
    """A file of a folder, its header read."""

    path: Location
    kind: str
    columns: tuple[str, ...]
    keys: Mapping[str, PartitionValue]
    arrow_schema: pa.Schema | None
    decimals: tuple[Decimal, ...]
    encoding: Encoding

    @property
    def is_sparse(self) -> bool:
        """Whether a column that it lacks is a missing value, not an error."""
        return not Format(self.kind).has_header

    def places(self) -> dict[Place, int | PartitionValue]:
        """Find where each column is; a column comes before a key of its name."""
        seen: Counter[str] = Counter()
        found: dict[Place, int | PartitionValue] = {}
        for index, name in enumerate(self.columns):
            found[name, seen[name]] = index
            seen[name] += 1
        return found | {(name, 0): key for name, key in self.keys.items() if not seen[name]}


class FolderTable:
    """The tables of a folder or pattern as one; see ``runtime.tables.base.Table``.

    Attributes:
        kind: format of the first file.
        columns: of the files, which must have the same ones, in the order of the first; keys of
            their folders (``year=2024``) are columns, too; those of ``source`` itself, where all
            files have the same value, only if they are required.
        absent: required columns that no record has.
        arrow_schema: the types that hold those of all files; None for text.
        decimals: decimal signs of the numbers in its text.
        bytes_read: bytes of the files that were read to their ends.
    """

    def __init__(
        self, source: Location, options: ReadOptions, required: Sequence[str], *, option: str
    ) -> None:
        """Read the headers of all files."""
        self._source, self._options, self._required = source, options, required
        if is_folder_or_pattern(source):
            root, names = find_tables(source, option=option)
        else:
            root, names = source.parent, (Path(source.name),)
        outer = {name: key for name, key in partition_keys(root / "_").items() if name in required}
        if options.format is None:
            check_formats(root, names, option)
        self._files = [self._inspect(root / name, outer | partition_keys(name)) for name in names]
        places = [(file, file.places()) for file in self._files]
        self._columns = list(dict.fromkeys(place for _, found in places for place in found))
        for file, found in places:
            self._check_columns(file, found)
        self.kind = self._files[0].kind
        self.columns = tuple(name for name, _ in self._columns)
        is_sparse = all(file.is_sparse for file in self._files)
        self.absent = tuple(name for name in required if is_sparse and name not in self.columns)
        self.arrow_schema = self._unify_types()
        self.decimals = tuple(dict.fromkeys(sign for file in self._files for sign in file.decimals))
        self.bytes_read = 0

    @property
    def dialect(self) -> Dialect:
        """Dialect of its bad rows as delimited text, in the encoding of the first file."""
        return replace(COMMA, encoding=self._files[0].encoding)

    def find_columns(self, names: Sequence[str] | None = None) -> None:
        """Do nothing: all columns of all files were found."""

    def layout_hint(self, features: Sequence[str]) -> str:  # noqa: ARG002 - see the protocol
        """Suggest nothing: the files agree on their columns."""
        return ""

    def check_numeric(self, features: Sequence[int]) -> None:
        """Refuse columns whose type cannot be converted to a number."""
        if self.arrow_schema is None:
            return
        from runtime.tables.arrow.features import check_types

        fields = [self.arrow_schema.field(index) for index in features]
        check_types(fields, where=str(self._source))

    def blocks(self, columns: Sequence[int]) -> Iterator[PartitionBlock]:
        """Read the records of the files in order, counted in each."""
        dialect = replace(COMMA, decimal=self._options.decimal)
        self.bytes_read, names = 0, self.columns + self.absent
        for file in self._files:
            found = file.places()
            places = tuple(found.get(column, PartitionValue(None)) for column in self._columns)
            places += (PartitionValue(None),) * len(self.absent)
            own = {place for at in columns if isinstance(place := places[at], int)}
            with open_table(file.path, self._options, self._required) as table:
                table.find_columns()
                if table.columns != file.columns:
                    raise DataError(f"{file.path} changed while it was read; try again")
                for block in table.blocks(sorted(own)):
                    yield PartitionBlock(block, names, places, dialect, str(file.path))
                self.bytes_read += table.bytes_read

    def _inspect(self, path: Location, keys: Mapping[str, PartitionValue]) -> _File:
        with open_table(path, self._options, self._required) as table:
            table.find_columns()
            schema, decimals, encoding = table.arrow_schema, table.decimals, table.dialect.encoding
            return _File(path, table.kind, table.columns, keys, schema, decimals, encoding)

    def _check_columns(self, file: _File, found: Mapping[Place, int | PartitionValue]) -> None:
        """Refuse a file that lacks a column of another."""
        missing = [place for place in self._columns if place not in found]
        if not missing or file.is_sparse:
            return
        name, _ = missing[0]
        other = next(other for other in self._files if missing[0] in other.places())
        raise SchemaError(
            f"{file.path}: column {name!r} is missing, which {other.path} has: the files of a "
            "folder are one table and need the same columns; select those that have them with a "
            "pattern"
        )

    def _unify_types(self) -> pa.Schema | None:
        """Find the types that hold those of all files."""
        typed = [file for file in self._files if file.arrow_schema is not None]
        if not typed:
            return None
        if len(typed) < len(self._files):
            text = next(file for file in self._files if file.arrow_schema is None)
            raise SchemaError(
                f"{text.path} is text and {typed[0].path} has typed columns: convert one of them, "
                "or select files of one kind with a pattern"
            )
        unified = pa.schema([])
        for file in typed:
            keys = [pa.field(name, pa.string()) for name in file.keys if name not in file.columns]
            schema = pa.schema([*list(file.arrow_schema or ()), *keys])
            try:
                unified = pa.unify_schemas([unified, schema], promote_options="permissive")
            except (pa.ArrowTypeError, pa.ArrowInvalid) as exc:
                raise SchemaError(
                    f"{file.path}: a column has another type than in the files before: "
                    f"{first_line(exc)}; write all files with the same types"
                ) from exc
        return pa.schema([unified.field(name) for name in self.columns])
