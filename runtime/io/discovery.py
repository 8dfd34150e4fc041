"""Which tables are meant: those of a folder, or what a pattern names.

In: a folder or a pattern. Out: the folder that they lie in, and their paths in it. Raises
``DataError`` for what cannot be searched or read, so that nothing passes for empty.
"""

from __future__ import annotations

import errno
import glob
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import DataError
from runtime.io.paths import WILDCARDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def find_tables(source: Path) -> tuple[Path, tuple[Path, ...]]:
    """Find the tables of a folder or pattern.

    Args:
        source: a folder, searched to its depths, links followed, or a pattern such as
            ``in/*.csv``.

    Returns:
        The folder that the output mirrors, and the tables in it by their relative paths, sorted.
        Hidden files are left out, and marks without an ending such as ``_SUCCESS``.

    Raises:
        DataError: when there are none, a folder cannot be searched, or something in it is no
            file, as a link to nothing or a pipe.
    """
    if os.path.isdir(source):  # noqa: PTH112 - a path raises where it cannot look
        root, found = source, list(_walk(source, frozenset()))
    else:
        root = _fixed_part(source)
        _refuse_locked(source)
        found = _match(source)
        found = [path for path in found if not os.path.isdir(path)]  # noqa: PTH112 - as above
    relative = sorted({path.relative_to(root) for path in found})
    tables = tuple(path for path in relative if not (_is_hidden(path) or _is_mark(path)))
    if not tables:
        raise DataError(f"{source} holds no tables; see --file")
    for path in tables:
        _refuse_no_file(root / path)
    return root, tables


def _walk(folder: Path, above: frozenset[str]) -> Iterator[Path]:
    """Find what is in a folder; a part that cannot be searched must not pass for empty.

    Args:
        folder: to search.
        above: real paths of the folders that led here.

    Yields:
        Everything but folders. A link that leads back to a folder above gives nothing new.
    """
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.is_dir(), entry.name) for entry in entries)
    except OSError as exc:
        raise DataError(f"cannot search {exc.filename}: {exc.strerror}") from exc
    for is_folder, name in found:
        if is_folder:
            yield from _walk(folder / name, above | {real})
        else:
            yield folder / name


def _match(pattern: Path) -> list[Path]:
    return [Path(name) for name in glob.glob(str(pattern), recursive=True)]  # noqa: PTH207 - patterns may be absolute


def _refuse_locked(pattern: Path) -> None:
    """Refuse folders that a pattern leads into and nobody may search: glob takes them for empty."""
    parts = pattern.parts
    for length in range(len(parts) - len(wildcard_parts(pattern)), len(parts)):
        for folder in _match(Path(*parts[:length])):
            if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):  # noqa: PTH112 - as above
                raise DataError(f"cannot search {folder}: {os.strerror(errno.EACCES)}")


def _refuse_no_file(path: Path) -> None:
    """Refuse what no table can be read from; to pass over it hides loss."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return
        fault = "is a pipe or device"
    except FileNotFoundError:
        fault = "is a link to nothing"
    except OSError as exc:
        fault = f"cannot be read ({exc.strerror})"
    raise DataError(f"{path} {fault}: remove it, or name the tables alone with --file 'PATTERN'")


def _fixed_part(pattern: Path) -> Path:
    """Find the folder in front of the first wildcard."""
    wild = len(wildcard_parts(pattern)) or 1  # without any, the last part alone
    return Path(*pattern.parts[:-wild])


def wildcard_parts(pattern: Path) -> Sequence[str]:
    """Give the parts of a pattern from the first wildcard on."""
    parts = pattern.parts
    first = next((at for at, part in enumerate(parts) if WILDCARDS & set(part)), len(parts))
    return parts[first:]


def _is_mark(path: Path) -> bool:
    """Tell what Spark and its like leave beside tables to say how far they came."""
    return path.name.startswith("_") and not path.suffix


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
