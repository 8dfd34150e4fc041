"""Classify and check locations: standard streams, devices, files, folders, patterns, objects.

A location is a local path or an object of a store. Both have names, parents and sizes; who reads
or writes them is in ``sources``, ``sinks``, ``discovery`` and ``folders``.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from runtime.errors import ExistsError, UsageError
from runtime.surfaces import option

if TYPE_CHECKING:
    from typing import TypeAlias

    from runtime.io.stores.object_path import ObjectPath

    Location: TypeAlias = Path | ObjectPath
else:
    Location = object  # typer evaluates annotations; its options have a parser of their own

STANDARD_STREAM = Path("-")
WILDCARDS = frozenset("*?[")
_MAX_LINKS = 40  # as in Linux
_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_STORES: Final = ("s3", "gs", "az")
_COLLAPSED: Final = re.compile(r"(s3|gs|az|file):/[^/]")  # what a Path makes of a URI
_SPELLINGS: Final = {
    **dict.fromkeys(("s3a", "s3n"), "s3://BUCKET/KEY"),
    "gcs": "gs://BUCKET/KEY",
    **dict.fromkeys(("abfs", "abfss", "azure", "wasb", "wasbs", "adl"), "az://CONTAINER/KEY"),
}


def parse_location(given: str | os.PathLike[str] | Location) -> Location:
    """Parse a local path, ``file://`` URI, or URI of an object store: ``s3://``, ``gs://``, ``az://``.

    Args:
        given: as text; a path or an object is taken as it is.

    Returns:
        A path, or an object.

    Raises:
        UsageError: for another scheme, and for a URI with credentials or a query string.
        UnavailableError: for an object store without obstore.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    text = os.fspath(given)
    if not isinstance(given, str):
        if found := _COLLAPSED.match(text):
            raise UsageError(
                f"{text!r} has one slash after {found[1]}:, as a Path makes it of {found[1]}://: "
                "give the location as text, with both"
            )
        return given if isinstance(given, Path) else Path(text)
    found = _URI.match(text)
    if found is None:
        return Path(text)
    scheme = found[1].lower()
    if scheme == "file":
        return _parse_file(text)
    if scheme not in _STORES:
        known = _SPELLINGS.get(scheme)
        advice = f"give {known}" if known else "give a path, or s3://, gs://, az:// or file://"
        raise UsageError(f"{scheme}:// is not a location that is read or written: {advice}")
    from runtime.io.stores.object_path import ObjectPath

    return ObjectPath.parse(scheme + text[len(scheme) :])


def parse_local_path(given: str | os.PathLike[str]) -> Path:
    """Parse a path where a store is neither read nor written; raises ``UsageError`` for one."""
    location = parse_location(given)
    if not isinstance(location, Path):
        raise UsageError(f"{location} is in a store, and this takes a local path: copy it")
    return location


def _parse_file(text: str) -> Path:
    """Parse a ``file://`` URI, percent-encoded, of this machine (RFC 8089)."""
    from urllib.parse import unquote_to_bytes

    host, slash, path = text[len("file://") :].partition("/")
    if host not in {"", "localhost"} or not slash:
        raise UsageError("a file:// location is local and absolute: give file:///folder/table.csv")
    return Path(os.fsdecode(unquote_to_bytes(f"/{path}")))


def is_regular(location: Location) -> bool:
    """Whether a location is a file or an object; False for what cannot be inspected locally."""
    # os.path is False where a Path would raise; opening it explains.
    return os.path.isfile(location) if isinstance(location, Path) else location.is_file()  # noqa: PTH113


def is_pipe(location: Location) -> bool:
    """Whether a location is a named pipe, which can be read only once."""
    return isinstance(location, Path) and location.is_fifo()


def is_within(location: Location, folder: Location) -> bool:
    """Whether a location is, or is below, a folder, links followed."""
    if isinstance(location, Path):
        return isinstance(folder, Path) and location.resolve().is_relative_to(folder.resolve())
    return location.is_relative_to(folder)


def absolute(location: Location) -> Location:
    """Make a path independent of the working folder, links kept."""
    return Path(os.path.abspath(location)) if isinstance(location, Path) else location  # noqa: PTH100


def relative_path(location: Location, folder: Location) -> Path:
    """Return the path of a location within a folder that it is below."""
    return Path(*location.parts[len(folder.parts) :])


def real_name(location: Location) -> str:
    """Return a name that is the same for all names of a file, links followed."""
    return os.path.realpath(location) if isinstance(location, Path) else str(location)


def state_of(location: Location) -> object:
    """Return what changes when a file or object is replaced; None where there is none."""
    if not isinstance(location, Path):
        return location.etag()
    try:
        found = location.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_special(path: Location) -> bool:
    """Return whether a path is written in place: a device, a pipe, or one like ``/dev/stdout``."""
    if not isinstance(path, Path):
        return False
    replaceable = {None, stat.S_IFREG, stat.S_IFDIR}
    return descriptor_number(path) is not None or file_type(path) not in replaceable


def is_folder_or_pattern(source: Location) -> bool:
    """Return whether a source is a folder or a pattern rather than one table."""
    if source == STANDARD_STREAM or is_regular(source):
        return False
    if WILDCARDS & set(str(source)):
        return True
    # os.path is False for what cannot be inspected, where a Path would raise; opening it explains.
    return os.path.isdir(source) if isinstance(source, Path) else source.is_dir()  # noqa: PTH112


def descriptor_number(path: Path) -> int | None:
    """Return the file descriptor that a path such as ``/dev/stdout`` names, if any."""
    with suppress(OSError):
        for _ in range(_MAX_LINKS):
            if path.name.isdigit() and os.path.realpath(path.parent) == os.path.realpath("/dev/fd"):
                return int(path.name)
            path = path.parent / path.readlink()
    return None


def file_type(path: Path) -> int | None:
    """Return the file type of a destination, one of ``stat.S_IF…``; None if it does not exist."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc


def resolve(path: Path) -> Path:
    """Resolve the links of a destination."""
    try:
        return path.resolve()
    except OSError as exc:  # the current folder was deleted
        raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
    except RuntimeError as exc:  # a link to itself, before Python 3.13
        raise UsageError(f"cannot write {path}: {os.strerror(errno.ELOOP)}") from exc


def check_replaceable(path: Path) -> None:
    """Reject a folder, a device and a write-protected file, although a rename would work."""
    kind = file_type(path)
    if kind is None:
        return
    if kind == stat.S_IFDIR:
        raise UsageError(f"{path} is a folder; give the name of a file to write")
    if kind != stat.S_IFREG:
        raise UsageError(f"{path} is a device or pipe; give the name of a file to write")
    if not os.access(path, os.W_OK):
        raise UsageError(f"cannot write {path}: it is write-protected")


def existing_error(location: Location) -> ExistsError:
    """Return the error for an output that exists where nothing may be replaced."""
    return ExistsError(
        f"{location} exists, and {option('no_overwrite', True)} replaces nothing; give another name"
    )


def check_distinct(source: Location, out: Location, *others: Location | None) -> None:
    """Reject to overwrite the input, or to write two outputs into one file, by any name."""
    input_id = _identity(source, Path("/dev/stdin"))
    outputs = [out, *(path for path in others if path)]
    seen: dict[object, int] = {}
    for number, path in enumerate(outputs):
        identity = _identity(path, Path("/dev/stdout"))
        if input_id is not None and identity == input_id:
            raise UsageError(f"{path} is the input; give another name to write to")
        for key in {identity, real_name(path)} - {None}:
            if seen.setdefault(key, number) != number and not is_special(path):
                raise UsageError(f"{path} is written twice; give each output its own name")


def _identity(path: Location, standard: Path) -> object:
    """Return device and inode of a regular file, ``standard`` for ``-``; an object itself."""
    if not isinstance(path, Path):
        return path
    try:
        state = (standard if path == STANDARD_STREAM else path).stat()
    except OSError:
        return None
    return (state.st_dev, state.st_ino) if stat.S_ISREG(state.st_mode) else None
