"""Find the tables of a folder, prefix or pattern; one that cannot be searched is an error."""

from __future__ import annotations

import errno
import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from runtime import surfaces
from runtime.errors import DataError, UsageError
from runtime.io.paths import WILDCARDS, is_folder_or_pattern
from runtime.io.rejects import is_rejects_file
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from runtime.io.paths import Location
    from runtime.io.stores.object_path import ObjectPath


class Skipped(Value, frozen=True):
    """Files of a folder or pattern that are no tables.

    Attributes:
        rejects: lists of rejected rows.
        hidden: how many have a name, or are in a folder with one, that begins with a point or
            underscore.
    """

    rejects: tuple[Location, ...]
    hidden: int


def find_tables(source: Location, *, option: str = "file") -> tuple[Location, tuple[Path, ...]]:
    """Find the tables of a folder, searched recursively, or of a pattern such as ``in/*.csv``.

    Returns the folder that the output mirrors, and the sorted paths of its tables relative to it,
    without those whose name, or a folder's, begins with a point or underscore, such as
    ``_SUCCESS`` and ``_temporary``, and without lists of rejected rows; ``option`` names
    the source in messages. Raises ``DataError`` when there are none, a folder cannot be searched,
    or an entry is not a regular file.
    """
    root, found = _search(source)
    tables = tuple(path for path in filter(_is_visible, found) if not is_rejects_file(root / path))
    if not tables:
        raise DataError(
            f"{source} holds no tables (names that begin with _ or . are skipped, and lists of "
            "rejected rows); see " + surfaces.option(option)
        )
    if isinstance(root, Path):
        for path in tables:
            _check_regular(root / path, option)
    return root, tables


def find_skipped(source: Location) -> Skipped:
    """Find what ``find_tables`` skips."""
    root, found = _search(source)
    hidden = sum(not _is_visible(path) for path in found)
    return Skipped(tuple(root / path for path in found if is_rejects_file(root / path)), hidden)


def _search(source: Location) -> tuple[Location, list[Path]]:
    """Return the folder that the output mirrors, and the sorted paths of its files in it."""
    if not isinstance(source, Path):
        return _search_store(source)
    if os.path.isdir(source):  # noqa: PTH112 - a Path raises on errors
        root, found = source, list(_walk(source, frozenset()))
    else:
        _check_searchable(source)
        root = _fixed_part(source)
        found = [path for path in _match(source) if not os.path.isdir(path)]  # noqa: PTH112 - as above
    return root, sorted({path.relative_to(root) for path in found})


def _search_store(source: ObjectPath) -> tuple[Location, list[Path]]:
    from runtime.io.stores.listing import list_objects, match_objects

    wildcards = wildcard_parts(source)
    root, found = match_objects(source, wildcards) if wildcards else (source, list_objects(source))
    depth = len(root.parts)
    return root, sorted(Path(*each.path.parts[depth:]) for each in found)


def _walk(folder: Path, parents: frozenset[str]) -> Iterator[Path]:
    """Find the files below a folder; a link to one of its ``parents`` is skipped."""
    real = os.path.realpath(folder)
    if real in parents:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.is_dir(), entry.name) for entry in entries)
    except OSError as exc:
        raise DataError(f"cannot search {exc.filename}: {exc.strerror}") from exc
    for is_folder, name in found:
        if is_folder:
            yield from _walk(folder / name, parents | {real})
        else:
            yield folder / name


def _match(pattern: Path) -> list[Path]:
    return [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - patterns may be absolute


def _check_searchable(pattern: Path) -> None:
    """Reject folders of a pattern that cannot be searched: glob skips them silently."""
    parts = pattern.parts
    for length in range(len(parts) - len(wildcard_parts(pattern)), len(parts)):
        for folder in _match(Path(*parts[:length])):
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):  # noqa: PTH112 - as above
                raise DataError(f"cannot search {folder}: {os.strerror(errno.EACCES)}")


def _check_regular(path: Path, option: str) -> None:
    """Reject what is not a regular file: skipping it could lose rows silently."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return
        problem = "is a pipe or device"
    except FileNotFoundError:
        problem = "is a link to nothing"
    except OSError as exc:
        problem = f"cannot be read ({exc.strerror})"
    select = surfaces.option(option, blank="'PATTERN'")
    raise DataError(f"{path} {problem}: remove it, or select the tables with {select}")


def _fixed_part(pattern: Path) -> Path:
    """Return the folder before the first wildcard."""
    count = len(wildcard_parts(pattern)) or 1  # without a wildcard: the name
    return Path(*pattern.parts[:-count])


def wildcard_parts(pattern: Location) -> Sequence[str]:
    """Return the parts of a pattern from the first wildcard on."""
    parts = pattern.parts
    first = next((at for at, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return parts[first:]


def _is_visible(path: Path) -> bool:
    """Whether no part of a relative path is hidden."""
    return not any(map(_is_hidden, path.parts))


def _is_hidden(name: str) -> bool:
    """Return whether Spark and Hive skip a name: ``.x.crc``, ``_SUCCESS``, but not ``_key=1``."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def source_size(source: Location) -> int | None:
    """Sum the bytes of a table, or of the tables of a folder or pattern; None if it is unknown."""
    try:
        if is_folder_or_pattern(source):
            root, tables = find_tables(source)
            return sum((root / name).stat().st_size for name in tables)
        return source.stat().st_size if source.is_file() else None
    except (OSError, DataError, UsageError):  # opening it reports the error
        return None
