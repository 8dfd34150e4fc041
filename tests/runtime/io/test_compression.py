from __future__ import annotations

import bz2
import errno
import gzip
import io
import random
import struct
import tracemalloc
import zlib
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.errors import DataError
from runtime.io.compression import Compression, compressed_sink, decompressed_source
from runtime.io.sources import PeekedSource
from runtime.tables.csv.reader import CsvReader

COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)
TEXT = b"price,rating\n" + b"".join(b"%d,%d\n" % (n, n * 7919 % 1000) for n in range(100_000))
# A zstd frame of "hello\n" ten times with its checksum, as the command zstd writes it.
ZSTD_CHECKED = bytes.fromhex("28b52ffd04586500003068656c6c6f0a0100cb598aa5f248c2")


def store(data: bytes, compression: Compression, pieces: int = 1 << 30) -> bytes:
    """Compress with the product's own writer."""
    stream = io.BytesIO()
    with compressed_sink(stream, compression) as sink:
        for start in range(0, len(data), pieces):
            sink.write(data[start : start + pieces])
    return stream.getvalue()


def peers(data: bytes) -> dict[Compression, bytes]:
    """Compress with other libraries."""
    stream = pa.BufferOutputStream()
    with pa.CompressedOutputStream(stream, "zstd") as out:
        out.write(data)
    return {
        "gzip": gzip.compress(data),
        "bzip2": bz2.compress(data),
        "zstd": stream.getvalue().to_pybytes(),
    }


def load(stored: bytes, compression: Compression, size: int = 1 << 16) -> bytes:
    """Read a whole stream in reads of one size."""
    source = decompressed_source(
        PeekedSource(io.BytesIO(stored), where="t"), compression, where="t.csv.x"
    )
    return b"".join(iter(lambda: source.read(size) or b"", b""))


RANDOM = random.Random(1)  # noqa: S311 - no secret
NOISE = RANDOM.randbytes(3_000_000)
STORED = {name: store(TEXT, name) for name in COMPRESSIONS}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("size", [1 << 10, 1 << 19])
def test_what_is_written_is_read(compression: Compression, size: int) -> None:
    """Our streams are read by us and by other tools, and theirs by us."""
    assert load(STORED[compression], compression, size) == TEXT
    assert load(peers(TEXT)[compression], compression, size) == TEXT
    others = {"gzip": gzip.decompress, "bzip2": bz2.decompress, "zstd": _unzstd}
    assert others[compression](STORED[compression]) == TEXT


def _unzstd(stored: bytes) -> bytes:
    data: bytes = pa.CompressedInputStream(pa.BufferReader(stored), "zstd").read()
    return data


@pytest.mark.parametrize("compression", COMPRESSIONS)
@given(st.binary(max_size=3000), st.integers(1, 5000))
def test_any_bytes_survive(compression: Compression, data: bytes, size: int) -> None:
    """Every text comes back, empty too, whatever the size of reads."""
    assert load(store(data, compression), compression, size) == data


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_what_is_stored_depends_on_the_bytes_alone(compression: Compression) -> None:
    """Neither time nor name is stored, and the size of writes makes no difference."""
    for pieces in (7919, 1 << 20, 3_000_000):
        assert store(TEXT, compression, pieces) == STORED[compression]
    if compression == "gzip":
        assert STORED["gzip"][3:8] == bytes(5), "no name, no time"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_members_one_after_another_are_one_stream(compression: Compression) -> None:
    """``cat a.gz b.gz`` is read whole, an empty member in between too."""
    stored = STORED[compression]
    empty = peers(b"")[compression]
    assert load(stored + empty + stored, compression) == TEXT * 2


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("left", [1, 3, 5, 9, 11, 1000, -1, -3, -8, -9])
def test_a_truncated_stream_is_an_error(compression: Compression, left: int) -> None:
    """Wherever it is truncated, in its first member or in another."""
    for stored in (STORED[compression][:left], STORED[compression] * 2)[: 2 if left < 0 else 1]:
        cut = stored if left > 0 else stored[:left]
        with pytest.raises(DataError, match=r"t\.csv\.x ends in the middle of its \w+ data"):
            load(cut, compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_trailing_garbage_is_an_error(compression: Compression) -> None:
    """Bytes that are no member are never dropped silently."""
    with pytest.raises(DataError, match=r"t\.csv\.x.*(follows|damaged|in the middle)"):
        load(STORED[compression] + b"1,2\n3,4\n" * 10, compression)


def test_padding_after_gzip_is_no_data() -> None:
    """Zeros that fill the last block of a tape or disk are skipped, as gzip does."""
    assert load(STORED["gzip"] + bytes(1000), "gzip") == TEXT
    assert load(STORED["gzip"] + bytes(512) + STORED["gzip"], "gzip", 1000) == TEXT * 2


@pytest.mark.parametrize("compression", ["gzip", "bzip2"])
def test_a_flipped_bit_is_found(compression: Compression) -> None:
    """The checksum is verified, wherever the wrong bit is."""
    text = TEXT[:60_000]
    stored, rng = store(text, compression), random.Random(1)  # noqa: S311 - no secret
    for _ in range(200):
        at = rng.randrange(10, len(stored))  # before: gzip's flags and time
        wrong = bytearray(stored)
        wrong[at] ^= 1 << rng.randrange(8)
        with pytest.raises(DataError, match=r"t\.csv\.x"):
            load(bytes(wrong), compression)


@pytest.mark.parametrize("place", [-8, -4], ids=["checksum", "length"])
def test_a_wrong_trailer_of_gzip_is_found(place: int) -> None:
    """A wrong checksum and a wrong length at the very end are errors."""
    wrong = bytearray(STORED["gzip"])
    wrong[place] ^= 1
    with pytest.raises(DataError, match="its gzip data is damaged"):
        load(bytes(wrong), "gzip")


def test_the_checksum_of_zstd_is_verified_where_present() -> None:
    """The zstd command writes one; skippable frames are skipped."""
    skipped = struct.pack("<II", 0x184D2A50, 5) + b"aside"
    assert load(ZSTD_CHECKED, "zstd") == b"hello\n" * 10
    assert load(skipped + ZSTD_CHECKED + skipped, "zstd") == b"hello\n" * 10
    wrong = ZSTD_CHECKED[:-1] + bytes([ZSTD_CHECKED[-1] ^ 1])
    with pytest.raises(DataError, match="its zstd data is damaged"):
        load(wrong, "zstd")


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_memory_stays_small(compression: Compression) -> None:
    """Many megabytes of zeros in a small file is read piece by piece."""
    stored = store(bytes(1 << 27 if compression != "bzip2" else 1 << 25), compression)
    source = decompressed_source(
        PeekedSource(io.BytesIO(stored), where="t"), compression, where="t"
    )
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    try:
        while piece := source.read(1 << 16):
            assert len(piece) <= 1 << 16
            assert pa.total_allocated_bytes() - before < 10e6
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_progress_counts_stored_bytes(compression: Compression) -> None:
    """A progress bar against the file's size ends at 100 %."""
    stored = STORED[compression] * 3
    source = PeekedSource(io.BytesIO(stored), where="t")
    assert source.peek(4) == stored[:4]
    reader = CsvReader(
        decompressed_source(source, compression, where="t"), where="t", block_size=1 << 16
    )
    assert 0 < reader.bytes_read < len(stored)
    assert sum(map(len, reader.blocks())) == 300_002, "and the headers of the other members"
    assert reader.bytes_read == len(stored)


class Failing(io.RawIOBase):
    """A source and sink that fails after a few bytes."""

    def __init__(self, data: bytes, failure: BaseException | None) -> None:
        self.data, self.failure = io.BytesIO(data), failure

    def read(self, size: int | None = -1, /) -> bytes | None:
        if piece := self.data.read(min(size or 0, 100)):
            return piece
        if self.failure:
            raise self.failure
        return None

    def write(self, data: object, /) -> int:
        raise self.failure or AssertionError(data)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("failure", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt()])
def test_a_read_error_is_raised_unchanged(compression: Compression, failure: BaseException) -> None:
    """A failing disk or Ctrl-C is not reported as a damaged stream."""
    raw = Failing(STORED[compression][:1000], failure)
    source = decompressed_source(PeekedSource(raw, where="t"), compression, where="t")
    with pytest.raises(type(failure)) as caught:
        list(iter(lambda: source.read(1 << 16), b""))
    assert getattr(caught.value, "errno", None) == getattr(failure, "errno", None)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_non_blocking_pipe_is_refused(compression: Compression) -> None:
    """No data for now is not the end of a compressed stream either."""
    source = PeekedSource(Failing(STORED[compression][:1000], None), where="t.csv")
    expanded = decompressed_source(source, compression, where="t.csv")
    with pytest.raises(DataError, match=r"t\.csv is non-blocking and has no data yet"):
        list(CsvReader(expanded, where="t.csv").blocks())


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize(
    "failure", [OSError(errno.ENOSPC, "full"), BrokenPipeError(errno.EPIPE, "")]
)
def test_a_write_error_is_raised_unchanged(compression: Compression, failure: OSError) -> None:
    """A full disk and a closed pipe keep their errno."""
    with (
        pytest.raises(type(failure)) as caught,
        compressed_sink(Failing(b"", failure), compression) as sink,
    ):
        sink.write(NOISE)
    assert caught.value.errno == failure.errno


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_failed_block_leaves_the_stream_without_an_end(compression: Compression) -> None:
    """An aborted stream reads as truncated, never as a complete table."""
    stream = io.BytesIO()

    def break_off() -> None:
        with compressed_sink(stream, compression) as sink:
            sink.write(NOISE)
            sink.flush()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    stored = stream.getvalue()
    assert stored
    with pytest.raises(DataError, match="in the middle"):
        load(stored, compression)


def test_gzip_follows_rfc_1952() -> None:
    """The trailer holds the CRC-32 and the length of the text."""
    crc, length = struct.unpack("<II", STORED["gzip"][-8:])
    assert (crc, length) == (zlib.crc32(TEXT), len(TEXT))
