"""Append-only log files that resume at the size a checkpoint has recorded."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Self

from runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class LogFile:
    """A file opened for appending; a context manager."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """Open a file and truncate it to ``size`` bytes: a resumed fit writes the rest again."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = path.open("r+b" if size else "wb")
            found = self._stream.seek(0, os.SEEK_END)
            self._stream.truncate(min(size, found))
            self._stream.seek(0, os.SEEK_END)
        except FileNotFoundError as exc:
            raise ArtifactError(
                f"{path} is missing, and the checkpoint refers to it: restore it, or start over "
                "without --resume"
            ) from exc
        except OSError as exc:
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        if found < size:
            self._stream.close()
            raise ArtifactError(
                f"{path} has {found} bytes, but the checkpoint was written at {size}: start over "
                "without --resume"
            )

    def append(self, content: bytes) -> None:
        """Write and flush to the operating system."""
        self._stream.write(content)
        self._stream.flush()

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return self._stream.tell()

    def sync(self) -> int:
        """Flush to disk and return the size in bytes."""
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
