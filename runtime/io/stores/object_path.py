"""Objects of a store, addressed like paths: ``s3://bucket/folder/table.csv``."""

from __future__ import annotations

import os
import re
import stat
from pathlib import PurePath, PurePosixPath
from typing import TYPE_CHECKING, Final, Self

from runtime.errors import MissingError, UsageError
from runtime.io.stores.client import connect
from runtime.io.stores.errors import translate_errors
from runtime.value import Value

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

_BUCKET: Final = re.compile(r"[A-Za-z0-9][\w.-]{1,254}")
_QUERY: Final = re.compile(r"\?[^/]*=")  # ? alone is a wildcard


class ObjectPath(Value, frozen=True):
    """An object, a prefix or a pattern in a store; it has what is used of a ``Path``.

    Attributes:
        scheme: ``s3``, ``gs`` or ``az``.
        bucket: Azure's container.
        key: within it, without slashes at its ends; empty for the bucket itself.
    """

    scheme: str
    bucket: str
    key: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a URI; raises ``UsageError``, whose message has nothing that may be secret."""
        scheme, _, rest = text.partition("://")
        bucket, _, key = rest.partition("/")
        if "@" in bucket or _QUERY.search(rest):
            raise UsageError(
                f"a location {scheme}://… holds no credentials and no query string: credentials "
                f"are taken from the environment, give {scheme}://BUCKET/KEY"
            )
        if not _BUCKET.fullmatch(bucket):
            raise UsageError(f"{text!r} names no bucket: give {scheme}://BUCKET/KEY")
        key = key.strip("/")
        if any(part in {"", ".", ".."} for part in key.split("/")) and key:
            raise UsageError(f"{text!r}: parts of a key cannot be empty, . or ..")
        return cls(scheme, bucket, key)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}".removesuffix("/")

    def __truediv__(self, name: str | PurePath) -> Self:
        key = PurePosixPath(self.key, name).as_posix()
        return type(self)(self.scheme, self.bucket, "" if key == "." else key)

    @property
    def store(self) -> ObjectStore:
        """The client of its bucket."""
        return connect(self.scheme, self.bucket)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return PurePosixPath(self.key).name

    @property
    def suffix(self) -> str:
        """The extension of the name, with its point."""
        return PurePosixPath(self.key).suffix

    @property
    def parts(self) -> tuple[str, ...]:
        """The bucket's URI, then the parts of the key."""
        return (f"{self.scheme}://{self.bucket}", *PurePosixPath(self.key).parts)

    @property
    def parent(self) -> Self:
        """The prefix that it is in."""
        key = PurePosixPath(self.key).parent.as_posix()
        return type(self)(self.scheme, self.bucket, "" if key == "." else key)

    def with_name(self, name: str) -> Self:
        """Replace the last part of the key."""
        return self.parent / name

    def is_relative_to(self, other: object) -> bool:
        """Whether it is, or is below, another location."""
        return isinstance(other, ObjectPath) and self.parts[: len(other.parts)] == other.parts

    def resolve(self) -> Self:
        """Return itself: stores have no links."""
        return self

    def metadata(self) -> ObjectMeta:
        """Ask for size and ETag; raises ``MissingError``, which names a missing bucket."""
        try:
            return self._head()
        except MissingError:
            self.holds_objects()  # the answer to a HEAD has no body to tell
            raise

    def _head(self) -> ObjectMeta:
        if not self.key:
            raise MissingError(f"{self} is a bucket: give {self}/KEY")
        with translate_errors(str(self)):
            return self.store.head(self.key)

    def stat(self) -> os.stat_result:
        """Get the size, as of a file; raises ``MissingError``."""
        meta = self.metadata()
        at = int(meta["last_modified"].timestamp())
        times = {"st_mtime_ns": at * 10**9, "st_ctime_ns": at * 10**9}
        state = (stat.S_IFREG | 0o644, 0, 0, 1, 0, 0, meta["size"], at, at, at)
        return os.stat_result(state, times)

    def etag(self) -> str | None:
        """Get what changes when the object is replaced; None where there is none."""
        try:
            return self._head()["e_tag"] or ""
        except MissingError:
            return None

    def is_file(self) -> bool:
        """Whether it is an object."""
        try:
            return bool(self.key) and bool(self._head())
        except MissingError:
            return False

    def is_dir(self) -> bool:
        """Whether there are objects below it."""
        return not self.key or self.holds_objects()

    def exists(self) -> bool:
        """Whether it is an object, or there are objects below it."""
        return self.is_file() or self.is_dir()

    def holds_objects(self) -> bool:
        """Whether there are objects below it; raises ``DataError`` without the bucket."""
        with translate_errors(str(self)):
            return any(self.store.list(self.key or None, chunk_size=1))

    def read_bytes(self) -> bytes:
        """Read a small object whole."""
        self.metadata()  # tells a missing bucket
        with translate_errors(str(self)):
            return bytes(self.store.get(self.key).bytes())
