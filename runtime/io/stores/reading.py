"""Read objects by ranges, several at once, each range repeated where its connection is lost."""

from __future__ import annotations

import io
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from runtime.errors import DataError, StoreError
from runtime.io.parallel import map_ordered
from runtime.io.stores.errors import translate_errors
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor

    from runtime.io.stores.object_path import ObjectPath

    Range = tuple[int, int]  # start and end, in bytes

RANGE_BYTES: Final = 8 * 1024 * 1024
_FIRST_BYTES: Final = 256 * 1024  # for a header, or a preview
_THREADS: Final = 4  # ranges in flight
_ATTEMPTS: Final = 3  # of a range whose body is cut off; obstore repeats the requests themselves
_AHEAD_BYTES: Final = 8 * RANGE_BYTES  # that a columnar file is read ahead
_GAP_BYTES: Final = 64 * 1024  # between two ranges that are read as one


class ObjectReader(Value, frozen=True):
    """An object as it was when it was opened; thread-safe.

    Attributes:
        path: of the object.
        size: bytes.
        etag: ranges are of this version; None where the store has none.
    """

    path: ObjectPath
    size: int
    etag: str | None

    def read_range(self, limits: Range) -> memoryview:
        """Read a range; raises ``DataError`` when the object has changed."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return self._read_once(*limits)
            except StoreError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError  # the last attempt returns or raises

    def _read_once(self, start: int, end: int) -> memoryview:
        where = str(self.path)
        with translate_errors(where):
            found = self.path.store.get(
                self.path.key, options={"range": (start, end), "if_match": self.etag}
            )
            content = memoryview(found.bytes())
        if len(content) != end - start:
            raise StoreError(f"cannot read {where}: the connection was lost; try again")
        return content


def open_reader(path: ObjectPath) -> ObjectReader:
    """Open an object; raises ``MissingError``."""
    found = path.metadata()
    return ObjectReader(path, found["size"], found["e_tag"])


def read_object(path: ObjectPath, *, limit: int) -> bytes:
    """Read an object whole, by ranges; raises ``DataError`` above ``limit`` bytes."""
    reader = open_reader(path)
    if reader.size > limit:
        raise DataError(f"{path} has {reader.size} bytes, more than the {limit} it may have")
    limits = split_range((0, reader.size))
    return b"".join(map_ordered(reader.read_range, limits, threads=_THREADS))


@contextmanager
def open_stream(
    path: ObjectPath, start: int = 0, stop: int | None = None
) -> Iterator[ObjectSource]:
    """Open an object to read it in order, a few ranges ahead; ``stop`` is its end by default."""
    source = ObjectSource(open_reader(path), start, stop)
    try:
        yield source
    finally:
        source.close()


class ObjectSource:
    """Reads an object in order; see ``runtime.io.streams.ByteSource``."""

    def __init__(self, reader: ObjectReader, start: int = 0, stop: int | None = None) -> None:
        stop = reader.size if stop is None else stop
        self._chunks = _read_in_order(reader, (min(start, stop), stop))
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes, empty at the end."""
        if not self._ready:
            self._ready = next(self._chunks, memoryview(b""))
        piece, self._ready = self._ready[:size], self._ready[size:]
        return bytes(piece)

    def close(self) -> None:
        """Give up what is read ahead."""
        self._chunks.close()


def _read_in_order(reader: ObjectReader, limits: Range) -> Generator[memoryview]:
    """Read a small range, for those who look at the first records, then large ones."""
    start, stop = limits
    first = min(start + _FIRST_BYTES, stop)
    if start < first:
        yield reader.read_range((start, first))
    yield from map_ordered(reader.read_range, split_range((first, stop)), threads=_THREADS)


def split_range(limits: Range) -> list[Range]:
    """Split a range into those of one request."""
    start, end = limits
    return list(pairwise([*range(start, end, RANGE_BYTES), end]))


class ObjectFile(io.RawIOBase):
    """A seekable object, for pyarrow; one thread at a time.

    Ranges that will be read, such as the columns of a Parquet file, can be given with
    ``read_ahead``: they are requested before they are needed, several at once.
    """

    def __init__(self, reader: ObjectReader) -> None:
        from concurrent.futures import ThreadPoolExecutor

        super().__init__()
        self._reader, self._at = reader, 0
        self._pool: ThreadPoolExecutor = ThreadPoolExecutor(_THREADS, "object")
        self._planned: list[Range] = []
        self._pending: dict[Range, Future[memoryview]] = {}

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it has positions."""
        return True

    def tell(self) -> int:
        """Get the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set the position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._reader.size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int | None = -1, /) -> bytes:
        """Read up to ``size`` bytes, fewer only at the end."""
        left = max(self._reader.size - self._at, 0)
        size = left if size is None or size < 0 else min(size, left)
        limits = (self._at, self._at + size)
        self._at += size
        return b"".join(self._read(limits))

    def read_ahead(self, ranges: Sequence[Range]) -> None:
        """Plan to read these ranges, in this order."""
        self._planned = [piece for limits in join_ranges(ranges) for piece in split_range(limits)]
        self._request(0)

    def close(self) -> None:
        """Give up what is read ahead."""
        if not self.closed:
            self._pool.shutdown(cancel_futures=True)
        super().close()

    def _read(self, limits: Range) -> list[memoryview]:
        start, end = limits
        if start == end:
            return []
        covering = [at for at, own in enumerate(self._planned) if own[0] < end and start < own[1]]
        pieces = [self._planned[at] for at in covering]
        edges = [(start, start), *pieces, (end, end)]
        if not pieces or any(right[0] > left[1] for left, right in pairwise(edges)):
            return list(self._pool.map(self._reader.read_range, split_range(limits)))
        self._request(covering[0])
        content = [
            self._submit(piece).result()[max(start - piece[0], 0) : end - piece[0]]
            for piece in pieces
        ]
        self._forget(covering[0])
        return content

    def _request(self, first: int) -> None:
        """Request planned ranges from this one on, as far as they are kept ahead."""
        ahead = 0
        for piece in self._planned[first:]:
            self._submit(piece)
            ahead += piece[1] - piece[0]
            if ahead >= _AHEAD_BYTES:
                break

    def _submit(self, piece: Range) -> Future[memoryview]:
        if piece not in self._pending:
            self._pending[piece] = self._pool.submit(self._reader.read_range, piece)
        return self._pending[piece]

    def _forget(self, first: int) -> None:
        """Release ranges well before the one that is read: columns are read in turns."""
        kept = 0
        for piece in reversed(self._planned[:first]):
            kept += piece[1] - piece[0]
            if kept > _AHEAD_BYTES:
                self._pending.pop(piece, None)


def join_ranges(ranges: Sequence[Range]) -> list[Range]:
    """Join ranges that follow each other, with small gaps between them."""
    joined: list[Range] = []
    for start, end in ranges:
        if joined and 0 <= start - joined[-1][1] <= _GAP_BYTES:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
