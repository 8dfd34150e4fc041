"""Write one object: a multipart upload that is completed when its content is whole, else aborted.

An object that replaces another appears in the moment when its upload is completed. One that must
replace nothing is uploaded beside its name and copied by the store on the condition that there is
none. Servers that only look like S3 check that condition carelessly (SeaweedFS lets two copies at
once through), but a small object is created by one of many: runs claim the name with one first.
"""

from __future__ import annotations

import io
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, ExistsError, OnnxferryError, StoreError, UsageError
from runtime.io.paths import existing_error
from runtime.io.stores.client import connect
from runtime.io.stores.errors import translate_errors

if TYPE_CHECKING:
    from types import TracebackType

    from obstore import WritableFile

    from runtime.io.stores.object_path import ObjectPath

PART_VARIABLE: Final = "ONNXFERRY_STORE_PART"
_MIB: Final = 1024 * 1024
_PART_MIB: Final = 16  # four are in flight, and one is filled: objects up to 156 GiB
_PART_RANGE: Final = (5, 1024)  # S3 refuses smaller parts
_MAX_PARTS: Final = 10_000  # of an upload, in S3 and Google's store; Azure has 50,000
_UPLOADS: Final = 4  # parts in flight
MAX_COPY_BYTES: Final = 5 * 1024**3  # S3 copies no more in one call
_COPY_S: Final = 300.0  # for a copy that Azure completes later
TEMPORARY: Final = "_temporary"  # prefix of what is not yet whole: readers skip it


class ObjectWriter(io.RawIOBase):
    """A binary file that becomes an object when ``publish`` is called; closed before, nothing.

    As a context manager it publishes when the block succeeds. Errors of the store are raised by the
    write after the one that failed, or by ``publish``.

    Attributes:
        path: of the object.
        size: bytes written.
    """

    def __init__(self, path: ObjectPath, *, replaces: bool = True) -> None:
        """Open an upload; raises ``UsageError`` for a bucket or key that cannot be written."""
        import obstore

        super().__init__()
        self._writer: WritableFile | None = None
        if not path.key:
            raise UsageError(f"{path} is a bucket: give {path}/KEY to write")
        self.path, self._replaces, self.size = path, replaces, 0
        self._target = path if replaces else _temporary_name(path)
        self._part_bytes = _part_bytes()
        _check_bucket(path)
        if not replaces and path.is_file():
            raise existing_error(path)
        with translate_errors(str(path), writing=True):
            self._writer = obstore.open_writer(
                connect(path.scheme, path.bucket, "upload"),
                self._target.key,
                buffer_size=self._part_bytes,
                max_concurrency=_UPLOADS,
            )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Publish after success, abort otherwise."""
        try:
            if kind is None and self._writer:
                self.publish()
        finally:
            self.close()

    def writable(self) -> bool:
        """Whether it can be written."""
        return True

    def write(self, data: bytes | memoryview, /) -> int:  # type: ignore[override] # what we write
        """Write all of the bytes."""
        if self._writer is None:
            raise ValueError("I/O operation on closed file.")
        view = memoryview(data).cast("B")
        self.size += len(view)
        self._check_size()
        with translate_errors(str(self.path), writing=True):
            self._writer.write(view)
        return len(view)

    def _check_size(self) -> None:
        """Refuse more than the store takes: it would tell at the end."""
        if self.size > self._part_bytes * _MAX_PARTS:
            part, most = self._part_bytes // _MIB, _PART_RANGE[1]
            larger = f"set {PART_VARIABLE} to {min(4 * part, most)} (MiB), or " * (part < most)
            raise DataError(
                f"cannot write {self.path}: it is larger than {_MAX_PARTS:,} parts of {part} MiB, "
                f"the most that an upload has; {larger}divide the table"
            )
        if not self._replaces and not is_copied(self.path, self.size):
            raise DataError(
                f"cannot write {self.path}: an object of more than {MAX_COPY_BYTES // 1024**3} GiB "
                "cannot be written on the condition that there is none; divide the table"
            )

    def flush(self) -> None:
        """Do nothing: parts have a minimum size."""

    def publish(self) -> bool:
        """Complete the upload; return whether an object of that name was there before.

        Raises ``ExistsError`` where it must replace none, ``UnavailableError`` when the store
        cannot be reached.
        """
        if self._writer is None:
            raise ValueError("I/O operation on closed file.")
        existed = self._replaces and self.path.is_file()
        with translate_errors(str(self.path), writing=True):
            self._writer.close()
            self._writer = None
        if not self._replaces:
            try:
                self._copy_new()
            finally:
                delete_quietly(self._target)
        return existed

    def _copy_new(self) -> None:
        """Give the upload its name if there is none; a claim keeps out other runs meanwhile."""
        claim = self._target.with_name(f"{self.path.name}.claim")
        try:
            put_new(claim, b"")
        except ExistsError as exc:
            raise ExistsError(
                f"another run writes {self.path}, or was killed while it did: give another name, "
                f"or remove {claim}"
            ) from exc
        try:
            if self.path.is_file():
                raise existing_error(self.path)
            copy_object(self._target, self.path, self.size, replaces=False)
        except ExistsError as exc:
            raise existing_error(self.path) from exc
        finally:
            delete_quietly(claim)

    def close(self) -> None:
        """Abort the upload, unless it was published."""
        if writer := self._writer:
            self._writer = None
            # Only an exception that leaves its block makes obstore abort.
            abort = OnnxferryError("aborted")
            with suppress(Exception):
                writer.__exit__(type(abort), abort, None)
        super().close()


def is_copied(path: ObjectPath, size: int) -> bool:
    """Whether the store itself copies an object of so many bytes in one call."""
    return path.scheme != "s3" or size <= MAX_COPY_BYTES


def copy_object(source: ObjectPath, target: ObjectPath, size: int, *, replaces: bool) -> None:
    """Copy an object of ``size`` bytes within its store.

    Raises ``ExistsError`` where it must replace none, ``StoreError`` when the copy fails.
    """
    store = connect(target.scheme, target.bucket, "copy")
    with translate_errors(str(target), writing=True):
        store.copy(source.key, target.key, overwrite=replaces)
    if target.scheme == "az":
        _await_copy(target, size)


def _await_copy(target: ObjectPath, size: int) -> None:
    """Wait until a copy is complete: Azure may answer before, and the object is empty till then."""
    end = time.monotonic() + _COPY_S
    while target.metadata()["size"] != size:
        if time.monotonic() > end:
            raise StoreError(
                f"cannot write {target}: the store has not copied it in {_COPY_S:.0f} s; try again"
            )
        time.sleep(1)


def _part_bytes() -> int:
    text = os.environ.get(PART_VARIABLE) or str(_PART_MIB)
    least, most = _PART_RANGE
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UsageError(f"{PART_VARIABLE} is {text!r}: give MiB, from {least} to {most}")
    return int(text) * _MIB


def put_new(path: ObjectPath, content: bytes) -> None:
    """Write a small object on the condition that there is none; raises ``ExistsError``."""
    with translate_errors(str(path), writing=True):
        path.store.put(path.key, content, mode="create")


def delete_quietly(*paths: ObjectPath) -> None:
    """Delete objects of a bucket that nobody needs, if that is possible."""
    for path in paths[:1]:
        with suppress(OnnxferryError), translate_errors(str(path), writing=True):
            path.store.delete([each.key for each in paths])


def _check_bucket(path: ObjectPath) -> None:
    """Fail before any work where there is no such bucket, no access or no connection."""
    with translate_errors(str(path), writing=True):
        for _ in path.store.list(path.key, chunk_size=1):
            break


def _temporary_name(path: ObjectPath) -> ObjectPath:
    return path.parent / TEMPORARY / f"{path.name}.{os.urandom(4).hex()}"
