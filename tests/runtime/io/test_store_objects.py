"""What lies in a bucket: odd names, markers of folders, objects that change or are very large."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from runtime.errors import DataError, UsageError
from runtime.io.discovery import find_tables
from runtime.io.paths import parse_location
from runtime.io.stores import reading, staging, writing
from runtime.io.stores.listing import list_objects
from runtime.io.stores.staging import StoredStage
from runtime.io.success import Success

if TYPE_CHECKING:
    from s3_server import ObjectStore

    from runtime import Predictor
    from runtime.io.stores.object_path import ObjectPath

pytestmark = pytest.mark.object_store
TABLE = b"price,rating\n8,4\n2,2\n"
NAMES = ["a b+%41.csv", "ü#x.csv", "d%2Fe.csv", "a?b&c=d.csv", "[x]*.csv", "'q\"~.csv", "p=1/x.csv"]


def _put(folder: str, name: str, content: bytes = TABLE) -> ObjectPath:
    path: Any = parse_location(folder) / name
    path.store.put(path.key, content)
    return path  # type: ignore[no-any-return] # an object


def _names(uri: str) -> list[str]:
    prefix: Any = parse_location(uri)
    return sorted(str(each.path).removeprefix(f"{uri}/") for each in list_objects(prefix))


def test_names_are_read_and_written_as_they_are(bucket: str, predictor: Predictor) -> None:
    """Blanks, percent signs, quotes and wildcards: in folders, and given as they are."""
    for name in NAMES:
        _put(f"{bucket}/in", name)
    assert predictor.score_file(f"{bucket}/in", f"{bucket}/out").rows == 2 * len(NAMES)
    assert _names(f"{bucket}/out") == sorted([*NAMES, "_SUCCESS"])
    parts = json.loads((parse_location(bucket) / "out/_SUCCESS").read_bytes())["parts"]
    assert sorted(part["name"] for part in parts) == sorted(NAMES)
    for name in NAMES:
        if "=d" not in name:  # which looks like a query string
            scored = predictor.score_file(f"{bucket}/in/{name}", f"{bucket}/single/{name}")
            assert scored.rows == 2
    with pytest.raises(UsageError, match="no credentials and no query string"):
        parse_location(f"{bucket}/in/a?b&c=d.csv")


def test_markers_of_folders_are_no_tables(
    bucket: str, object_store: ObjectStore, predictor: Predictor
) -> None:
    """As consoles make them, for the prefix and below, in inputs and outputs; an empty table is."""
    name = bucket.removeprefix("s3://")
    _put(f"{bucket}/in", "x.csv")
    for folder in ("in", "in/empty", "out", "out/empty"):
        object_store.put_raw(name, f"{folder}/", b"")
    _put(f"{bucket}/in", "day", b"")  # as hierarchical stores of Azure list a folder
    _put(f"{bucket}/in/day", "z.csv")
    assert predictor.score_file(f"{bucket}/in", f"{bucket}/out").rows == 4
    _put(f"{bucket}/in", "y.csv", b"")
    with pytest.raises(DataError, match=r"y\.csv is empty"):
        predictor.score_file(f"{bucket}/in", f"{bucket}/other")


def test_a_name_that_is_not_supported_is_named(bucket: str, object_store: ObjectStore) -> None:
    """Nothing is skipped: a line break ends the listing with the name."""
    object_store.put_raw(bucket.removeprefix("s3://"), "in/new\nline.csv", TABLE)
    with pytest.raises(DataError, match=r"is named 'in/new\\nline\.csv', with .* rename it"):
        find_tables(parse_location(f"{bucket}/in"))


def _tables() -> dict[str, bytes]:
    """Tables of many ranges, none of which is the other reversed."""
    rows, out = 200_000, io.BytesIO()
    table = pa.table({"price": [8.0] * rows, "rating": [float(n % 5) for n in range(rows)]})
    pq.write_table(table, out, row_group_size=10_000, use_dictionary=False)
    return {"csv": b"price,rating\n" + b"8,4\n" * rows, "parquet": out.getvalue()}


@pytest.mark.parametrize("change", ["replaced", "deleted"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_that_changes_meanwhile_is_never_a_mix(
    kind: str, change: str, bucket: str, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replaced or deleted after some of its ranges were read: an error, and no output."""
    monkeypatch.setattr(reading, "_FIRST_BYTES", 1_000)
    monkeypatch.setattr(reading, "RANGE_BYTES", 4_000)
    content = _tables()[kind]
    path = _put(bucket, f"in.{kind}", content)
    read, reads = reading.ObjectReader.read_range, itertools.count()

    def read_and_change(reader: reading.ObjectReader, limits: tuple[int, int]) -> memoryview:
        if next(reads) == 12:
            if change == "replaced":
                path.store.put(path.key, content[::-1])
            else:
                path.store.delete(path.key)
        return read(reader, limits)

    monkeypatch.setattr(reading.ObjectReader, "read_range", read_and_change)
    with pytest.raises(DataError, match=r"changed while it was read|no such object"):
        predictor.score_file(str(path), f"{bucket}/out.csv")
    assert next(reads) > 12
    assert not parse_location(f"{bucket}/out.csv").exists()


def test_an_object_that_is_too_large_to_be_copied_goes_through_here(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 5 MiB instead of 5 GiB: the same bytes at its name, and nothing is left."""
    monkeypatch.setattr(writing, "MAX_COPY_BYTES", 5 * 1024**2)
    copied: list[str] = []
    copy = writing.copy_object

    def count(source: ObjectPath, target: ObjectPath, size: int, *, replaces: bool) -> None:
        copied.append(target.name)
        copy(source, target, size, replaces=replaces)

    monkeypatch.setattr(staging, "copy_object", count)
    prefix: Any = parse_location(f"{bucket}/out")
    stage = StoredStage(prefix, "run")
    contents = {"small": b"s" * 1000, "large": bytes(range(256)) * 90_000}
    for name, content in contents.items():
        with stage.open(name) as stream:
            stream.write(content)
    sizes = {name: len(content) for name, content in contents.items()}
    stage.publish({name: name for name in contents}, Success(dict.fromkeys(contents), sizes))
    assert copied == ["small"]
    for name, content in contents.items():
        found = hashlib.sha256((prefix / name).read_bytes()).digest()
        assert found == hashlib.sha256(content).digest()
    assert _names(f"{bucket}/out") == ["_SUCCESS", "large", "small"]
    with pytest.raises(DataError, match="on the condition that there is none; divide"):
        _write(parse_location(f"{bucket}/new"), 6, replaces=False)


def _write(path: Any, mebibytes: int, *, replaces: bool = True) -> None:  # noqa: ANN401 - an object
    with writing.ObjectWriter(path, replaces=replaces) as stream:
        for _ in range(mebibytes):
            stream.write(b"z" * 1024**2)


def test_more_parts_than_an_upload_has_are_refused_before_the_end(
    bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names a variable for larger parts, with which it is written."""
    monkeypatch.setattr(writing, "_MAX_PARTS", 1)
    path = parse_location(f"{bucket}/out")
    with pytest.raises(DataError, match=r"1 parts of 16 MiB.*ONNXFERRY_STORE_PART to 64"):
        _write(path, 20)
    assert not path.exists()
    assert object_store.uploads(bucket.removeprefix("s3://")) == []
    monkeypatch.setenv("ONNXFERRY_STORE_PART", "64")
    _write(path, 20)
    assert path.stat().st_size == 20 * 1024**2
    monkeypatch.setenv("ONNXFERRY_STORE_PART", "4")
    with pytest.raises(UsageError, match="ONNXFERRY_STORE_PART is '4': give MiB, from 5 to 1024"):
        _write(path, 1)
