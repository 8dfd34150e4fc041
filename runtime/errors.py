"""The one error tree of onnxferry and the exit codes of its commands.

    OnnxferryError            1  (never raised itself)
    ├── UsageError            2  invalid or conflicting options
    ├── DataError             3  a table that cannot be read, scored or written
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
        └── ConnectionLostError  6  another process of a run has ended

A message names the problem, its place (file, record, column) and the remedy.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_BUG = 1
EXIT_INTERRUPTED = 130


def first_line(error: Exception) -> str:
    """Take the first line of another library's message, or the name of its class."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


class OnnxferryError(Exception):
    """Base of every error a user can fix; ``exit_code`` is the exit status of the command."""

    exit_code: ClassVar[int] = EXIT_BUG


class UsageError(OnnxferryError):
    """Invalid or conflicting options or arguments."""

    exit_code = 2


class DataError(OnnxferryError):
    """A table that cannot be read, scored or written."""

    exit_code = 3


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


class ConnectionLostError(UnavailableError):
    """Another process of a run has ended."""
