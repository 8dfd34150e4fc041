"""Log files that continue from a checkpoint, and metrics as JSON Lines in one."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Self

import msgspec

from runtime.errors import ArtifactError, UsageError
from runtime.surfaces import option

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.checkpoint.state import Epoch


class LogFile:
    """A file opened for appending; a context manager."""

    def __init__(self, path: Path, *, size: int = 0) -> None:
        """Open a file and truncate it to ``size`` bytes: a resumed fit writes the rest again."""
        self.path = path
        try:
            if not size:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._stream: IO[bytes] = path.open("r+b" if size else "wb")
            found = self._stream.seek(0, os.SEEK_END)
            self._stream.truncate(min(size, found))
            self._stream.seek(0, os.SEEK_END)
        except OSError as exc:
            if size and isinstance(exc, FileNotFoundError):
                raise ArtifactError(
                    f"{path} is missing, and the checkpoint refers to it: restore it, or start "
                    f"over with {option('restart', True)}"
                ) from exc
            raise UsageError(f"cannot write {path}: {exc.strerror}") from exc
        if found < size:
            self._stream.close()
            raise ArtifactError(
                f"{path} has {found} bytes, but the checkpoint was written at {size}: start over "
                f"with {option('restart', True)}"
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


class JsonlLogger:
    """Writes the metrics of every epoch; the same fit writes the same bytes."""

    def __init__(self, file: LogFile) -> None:
        """Append to an open file."""
        self._file = file

    def log_epoch(self, epoch: Epoch) -> None:
        """Append one line."""
        line: dict[str, float] = {
            "epoch": epoch.index + 1,
            "steps": (epoch.index + 1) * len(epoch.losses),
            "learning_rate": epoch.learning_rate,
            "loss": epoch.loss,
            "test_loss": epoch.test_loss,
            "accuracy": epoch.accuracy,
            "lowest_test_loss_epoch": epoch.lowest + 1,
        }
        if epoch.validation and epoch.is_validated:
            line["validation_loss"] = epoch.validation.loss
            line["validation_accuracy"] = epoch.validation.accuracy
            line["best_epoch"] = epoch.best + 1
        self._file.append(msgspec.json.encode(line) + b"\n")
