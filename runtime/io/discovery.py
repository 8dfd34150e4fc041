"""Find the tables of a folder or pattern; a folder that cannot be searched is an error."""

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

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def find_tables(source: Path, *, option: str = "file") -> tuple[Path, tuple[Path, ...]]:
    """Find the tables of a folder, searched recursively, or of a pattern such as ``in/*.csv``.

    Returns the folder that the output mirrors, and the sorted paths of its tables relative to it,
    without those whose name, or a folder's, begins with a point or underscore, such as
    ``_SUCCESS`` and ``_temporary``, and without lists of rejected rows; ``option`` names
    the source in messages. Raises ``DataError`` when there are none, a folder cannot be searched,
    or an entry is not a regular file.
    """
    root, found = _search(source)
    relative = sorted({path.relative_to(root) for path in found})
    visible = [path for path in relative if not any(map(_is_hidden, path.parts))]
    tables = tuple(path for path in visible if not is_rejects_file(root / path))
    if not tables:
        raise DataError(
            f"{source} holds no tables (names that begin with _ or . are skipped, and lists of "
            "rejected rows); see " + surfaces.option(option)
        )
    for path in tables:
        _check_regular(root / path, option)
    return root, tables


def find_rejects(source: Path) -> list[Path]:
    """Find the lists of rejected rows that ``find_tables`` skips."""
    return sorted(filter(is_rejects_file, _search(source)[1]))


def _search(source: Path) -> tuple[Path, list[Path]]:
    """Return the folder that the output mirrors, and the files of a folder or pattern."""
    if os.path.isdir(source):  # noqa: PTH112 - a Path raises on errors
        return source, list(_walk(source, frozenset()))
    _check_searchable(source)
    return _fixed_part(source), [path for path in _match(source) if not os.path.isdir(path)]  # noqa: PTH112 - as above


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


def wildcard_parts(pattern: Path) -> Sequence[str]:
    """Return the parts of a pattern from the first wildcard on."""
    parts = pattern.parts
    first = next((at for at, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return parts[first:]


def _is_hidden(name: str) -> bool:
    """Return whether Spark and Hive skip a name: ``.x.crc``, ``_SUCCESS``, but not ``_key=1``."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def source_size(source: Path) -> int | None:
    """Sum the bytes of a table, or of the tables of a folder or pattern; None if it is unknown."""
    try:
        if is_folder_or_pattern(source):
            root, tables = find_tables(source)
            return sum((root / name).stat().st_size for name in tables)
        return source.stat().st_size if source.is_file() else None
    except (OSError, DataError, UsageError):  # opening it reports the error
        return None
