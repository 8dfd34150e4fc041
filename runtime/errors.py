"""The one error tree of onnxferry and the exit codes of its commands.

    OnnxferryError            1  (never raised itself)
    ├── UsageError            2  invalid or conflicting options
    │   └── ExistsError       2  an output that exists where nothing may be replaced
    ├── DataError             3  a table that cannot be read, scored or written
    │   ├── MissingError      3  an object or bucket that does not exist
    │   ├── SchemaError       3  columns or values that do not match the schema
    │   ├── BadRowsError      3  rows that cannot be scored
    │   └── RequestError      3  an invalid request
    │       ├── BodyError         3  a request body that is not what its URL reads
    │       ├── UnknownNameError  3  a model, version or URL that does not exist
    │       ├── OversizeError     3  a request that exceeds a limit of the server
    │       └── MediaError        3  a request body of an unsupported media type
    ├── ArtifactError         4  a damaged run or bundle, or one of an unknown format
    ├── ParityError           5  an exported model whose outputs differ from the reference
    └── UnavailableError      6  a device, provider, address or extra that is not available
        ├── OverloadError     6  a server at its limit of concurrent requests
        ├── StoreError        6  an object store that does not answer, fails or denies access
        └── ConnectionLostError  6  another process of a run has ended

A message names the problem, its place (file, record, column) and the remedy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

EXIT_BUG = 1
EXIT_INTERRUPTED = 130
# The end of a traceback in an engine's message: the name of the class, then the message, up to the
# next traceback of the engine (Java's or Python's).
_IN_TEXT: Final = (
    r"(?s)\bruntime\.errors\.(?P<name>\w+): (?P<message>.*?)"
    r"(?=\n\s*\n|\n\s+at |\n\s*SQLSTATE: |\nTraceback |\nDriver stacktrace|\Z)"
)

_RAY_ADDS: Final = "\nFailed to apply UDF transform after "  # to a message


def first_line(error: Exception) -> str:
    """Take the first line of another library's message, or the name of its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class OnnxferryError(Exception):
    """Base of every error a user can fix; ``exit_code`` is the exit status of the command."""

    exit_code: ClassVar[int] = EXIT_BUG


class UsageError(OnnxferryError):
    """Invalid or conflicting options or arguments."""

    exit_code = 2


class ExistsError(UsageError):
    """An output that exists where nothing may be replaced."""


class DataError(OnnxferryError):
    """A table that cannot be read, scored or written."""

    exit_code = 3


class MissingError(DataError):
    """An object or bucket of a store that does not exist."""


class SchemaError(DataError):
    """Columns or values that do not match the schema."""


class BadRowsError(DataError):
    """Rows that cannot be scored, with ``bad_rows="fail"``."""


class RequestError(DataError):
    """An invalid request."""


class BodyError(RequestError):
    """A request body that is not what its URL reads, such as text that is not JSON."""


class UnknownNameError(RequestError):
    """A request for a model, version or URL that does not exist."""


class OversizeError(RequestError):
    """A request that exceeds a limit of the server."""


class MediaError(RequestError):
    """A request body of an unsupported media type."""


class ArtifactError(OnnxferryError):
    """A damaged run or bundle, or one of an unknown format."""

    exit_code = 4


class ParityError(OnnxferryError):
    """An exported model whose outputs differ from the reference by more than the error bound."""

    exit_code = 5


class UnavailableError(OnnxferryError):
    """A requested device, provider, address or extra that is not available."""

    exit_code = 6


class OverloadError(UnavailableError):
    """A server at its limit of concurrent requests."""


class StoreError(UnavailableError):
    """An object store that does not answer, fails or denies access."""


class ConnectionLostError(UnavailableError):
    """Another process of a run has ended."""


def find_error(error: BaseException) -> OnnxferryError | None:
    """Find the error of a worker in the exception that an engine raised for it.

    Ray, Dask and the like pickle the error and wrap it; Spark only quotes its traceback.

    Args:
        error: what the engine raised, or one of ours.

    Returns:
        The error, its message as it was raised; None if the exception is not due to one.
    """
    import re  # start-up needs none of this

    chain = list(_chain(error))
    if ours := [link for link in chain if isinstance(link, OnnxferryError)]:
        # Ray mixes the class with one of its own, which quotes the traceback, and has ours inside.
        found = next((link for link in ours if type(link).__module__ == __name__), ours[0])
        message, _, added = str(found).partition(_RAY_ADDS)
        return type(found)(message) if added else found
    kinds = {kind.__name__: kind for kind in _subclasses(OnnxferryError)}
    for link in chain:
        for quoted in reversed(list(re.finditer(_IN_TEXT, str(link)))):
            if quoted["name"] in kinds:
                return kinds[quoted["name"]](quoted["message"].strip())
    return None


def exit_code_of(error: BaseException) -> int:
    """Get the exit status for an exception: that of the error that caused it, see ``find_error``.

    Args:
        error: any exception, of an engine, too.

    Returns:
        The exit status: 130 for an interrupt, 1 where no error of ours is the cause.
    """
    found = find_error(error)
    if found is None and any(isinstance(link, KeyboardInterrupt) for link in _chain(error)):
        return EXIT_INTERRUPTED
    return EXIT_BUG if found is None else found.exit_code


def _chain(error: BaseException) -> Iterator[BaseException]:
    """List an exception and its causes: Python's, and the attribute that Ray has for them."""
    waiting, seen = [error], set()
    while waiting:
        link = waiting.pop(0)
        if id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        context = None if link.__suppress_context__ else link.__context__
        found = (getattr(link, "cause", None), link.__cause__, context)
        waiting += [each for each in found if isinstance(each, BaseException)]


def _subclasses(kind: type[OnnxferryError]) -> Iterator[type[OnnxferryError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)
