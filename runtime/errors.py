"""The one error tree of onnxferry and the exit codes of its commands.

    OnnxferryError            1  (never raised itself)
    ├── UsageError            2  options that do not fit together
    ├── DataError             3  a table that cannot be read, scored or written
    │   ├── SchemaError       3  columns or values that do not fit the schema
    │   ├── BadRowsError      3  rows that cannot be scored
    │   └── RequestError      3  a request that cannot be answered as it stands
    │       ├── UnknownNameError  3  a model, version or address that does not exist
    │       ├── OversizeError     3  a request beyond a limit of the server
    │       └── MediaError        3  a request whose body is in a form that is not read
    ├── ArtifactError         4  a run or bundle damaged or of an unknown format
    ├── ParityError           5  an export that does not compute what the model computes
    └── UnavailableError      6  a device, provider or extra that is not available
        ├── OverloadError     6  a server that has no room for one more request now
        └── ConnectionLostError  6  another process of a run has ended

Every message says what is wrong, where, and what to do.
"""

from __future__ import annotations

from typing import ClassVar

EXIT_BUG = 1
EXIT_INTERRUPTED = 130


class OnnxferryError(Exception):
    """Base of every error a user can fix; ``exit_code`` is what a command returns."""

    exit_code: ClassVar[int] = EXIT_BUG


class UsageError(OnnxferryError):
    """Options or arguments that do not fit together."""

    exit_code = 2


class DataError(OnnxferryError):
    """A table that cannot be read, scored or written."""

    exit_code = 3


class SchemaError(DataError):
    """Columns or values that do not fit the schema."""


class BadRowsError(DataError):
    """Rows that cannot be scored, under the policy that refuses them."""


class RequestError(DataError):
    """A request that cannot be answered as it stands."""


class UnknownNameError(RequestError):
    """A request for a model, a version or an address that does not exist."""


class OversizeError(RequestError):
    """A request beyond one of the server's limits."""


class MediaError(RequestError):
    """A request whose body is in a form that is not read."""


class ArtifactError(OnnxferryError):
    """A run or bundle that is damaged or of an unknown format."""

    exit_code = 4


class ParityError(OnnxferryError):
    """An export that does not compute what the trained model computes."""

    exit_code = 5


class UnavailableError(OnnxferryError):
    """A device, a provider or an extra that was requested and is not available."""

    exit_code = 6


class OverloadError(UnavailableError):
    """A server that has no room for one more request now."""


class ConnectionLostError(UnavailableError):
    """Another process of a run has ended."""
