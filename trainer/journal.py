"""Files that a fit appends to, and that go on where a checkpoint left them.

In: bytes. Out: a file whose length a checkpoint remembers; what was written after that is cut off
when the fit is taken up, for it will be written again. Raises ``UsageError`` for a place that
cannot be written and ``ArtifactError`` for a file that has lost what the checkpoint counts on.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Self

from runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from pathlib import Path


class Journal:
    """An open file that only grows."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """Open a file for appending.

        Args:
            path: the file; its folder is made where it is missing.
            size: bytes of it that stay; 0 begins it anew.

        Raises:
            UsageError: when it cannot be written.
            ArtifactError: when it has fewer bytes.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = path.open("r+b" if size else "wb")
            found = self._stream.seek(0, os.SEEK_END)
            self._stream.truncate(min(size, found))
            self._stream.seek(0, os.SEEK_END)
        except FileNotFoundError as exc:
            raise ArtifactError(
                f"{path} is missing, and the checkpoint goes on with it: bring it back, or start "
                "anew without --resume"
            ) from exc
        except OSError as exc:
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        if found < size:
            self._stream.close()
            raise ArtifactError(
                f"{path} has {found} bytes, and the checkpoint goes on after {size}: start anew "
                "without --resume"
            )

    def append(self, content: bytes) -> None:
        """Write, and hand it to the system."""
        self._stream.write(content)
        self._stream.flush()

    @property
    def size(self) -> int:
        """Bytes written, and those that were there."""
        return self._stream.tell()

    def sync(self) -> int:
        """Bring all to the disk, and tell how many bytes that are."""
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
