"""Translate pyarrow's errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Say which types or values a format does not have."""
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # of the operating system; Arrow's own have no number
        raise DataError(
            f"cannot write {name}: {first_line(exc)}; leave such columns out with --columns, "
            "or choose another --out-format"
        ) from exc


def first_line(error: Exception) -> str:
    """Take the first line of a foreign message."""
    return next(iter(str(error).splitlines()), type(error).__name__)
