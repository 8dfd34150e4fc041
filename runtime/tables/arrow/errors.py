"""Translate errors of pyarrow."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa

from runtime.errors import DataError, first_line

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def translate_errors(name: str) -> Iterator[None]:
    """Describe a type or value that the output format does not support."""
    try:
        yield
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError) as exc:
        if isinstance(exc, OSError) and exc.errno is not None:
            raise  # from the operating system; Arrow's own errors have no errno
        raise DataError(
            f"cannot write {name}: {first_line(exc)}; leave out such columns with --columns, "
            "or choose another --out-format"
        ) from exc
