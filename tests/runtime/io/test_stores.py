"""Tables, bundles and outputs in a store, a real server of S3: whole, cut off and killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cutting_proxy import cutting_proxy

from runtime import Predictor, Scorer
from runtime.cli.serve import find_bundles
from runtime.errors import ArtifactError, DataError, ExistsError, UnavailableError, UsageError
from runtime.io.atomic import atomic_file
from runtime.io.discovery import find_skipped, find_tables
from runtime.io.paths import parse_location
from runtime.io.stores.aws import s3_settings
from runtime.io.stores.reading import ObjectFile, ObjectReader, join_ranges, open_reader
from runtime.scoring.pipeline import score_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3_server import ObjectStore

    from runtime.io.stores.object_path import ObjectPath

pytestmark = pytest.mark.object_store
ROWS = 3_000
SECRETS = ("user-secret", "topsecret", "Signature", "Credential=")


def _put(uri: str, content: bytes) -> None:
    path: Any = parse_location(uri)
    path.store.put(path.key, content)


def _get(uri: str) -> bytes:
    path: Any = parse_location(uri)
    return bytes(path.read_bytes())


def _names(uri: str) -> list[str]:
    from runtime.io.stores.listing import list_objects

    prefix: Any = parse_location(uri)
    return sorted(str(each.path).removeprefix(f"{uri}/") for each in list_objects(prefix))


def _table(rows: int = ROWS) -> pa.Table:
    """Products with an identifier, and a column that is not read."""
    random = np.random.default_rng(1)
    return pa.table(
        {
            "id": np.arange(rows),
            "price": random.uniform(1, 10, rows).round(2),
            "note": [f"é{n}" for n in range(rows)],
            "rating": random.uniform(1, 5, rows).round(2),
        }
    )


def _encode(table: pa.Table, kind: str) -> bytes:
    out = io.BytesIO()
    if kind == "parquet":
        pq.write_table(table, out, row_group_size=500)
    elif kind == "csv":
        table.to_pandas().to_csv(out, index=False)
    else:
        table.to_pandas().to_json(out, orient="records", lines=True)
    return out.getvalue()


@pytest.fixture
def stored_bundle(bucket: str, bundle: Path) -> str:
    """The bundle of the tests, in the bucket."""
    for path in bundle.iterdir():
        _put(f"{bucket}/bundle/{path.name}", path.read_bytes())
    return f"{bucket}/bundle"


@pytest.fixture
def run(environment: dict[str, str], object_store: ObjectStore) -> Any:  # noqa: ANN401 - a callable
    """``run(*words, **variables)``: the command, with the user's credentials."""

    def call(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**environment, **object_store.variables, **variables}
        command = [sys.executable, "-m", "runtime", *words]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

    return call


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_is_scored_to_the_same_bytes(
    kind: str, bucket: str, stored_bundle: str, predictor: Predictor, tmp_path: Path
) -> None:
    """Bundle, table and output in a store give what local files give."""
    content = _encode(_table(), kind)
    (tmp_path / f"in.{kind}").write_bytes(content)
    _put(f"{bucket}/in.{kind}", content)
    predictor.score_file(tmp_path / f"in.{kind}", tmp_path / f"out.{kind}")
    summary = Predictor(stored_bundle).score_file(f"{bucket}/in.{kind}", f"{bucket}/out.{kind}")
    assert summary.rows == ROWS
    assert str(summary.files["out"]) == f"{bucket}/out.{kind}"
    assert _get(f"{bucket}/out.{kind}") == (tmp_path / f"out.{kind}").read_bytes()


def test_the_command_writes_each_output_to_the_store(
    run: Any,  # noqa: ANN401 - see the fixture
    bucket: str,
    stored_bundle: str,
    object_store: ObjectStore,
) -> None:
    """Rows, rejected rows, drift and summary, named in the summary; nothing else is left."""
    _put(f"{bucket}/in.csv", b"price,rating\n8,4\nx,1\n2,2\n")
    words = ["predict", "--file", f"{bucket}/in.csv", "--out", f"{bucket}/new/out.csv"]
    words += ["--bad-rows", "reject", "--summary", f"{bucket}/new/s.json", "--no-overwrite"]
    done = run(*words, ONNXFERRY_BUNDLE=stored_bundle)
    assert done.returncode == 0, done.stderr
    assert _names(f"{bucket}/new") == ["out.csv", "out.csv.rejects.csv", "s.json"]
    assert _get(f"{bucket}/new/out.csv").count(b"\n") == 3
    summary = json.loads(_get(f"{bucket}/new/s.json"))
    assert summary["files"]["rejects"] == f"{bucket}/new/out.csv.rejects.csv"
    assert not any(secret in json.dumps(summary) for secret in SECRETS)
    again = run(*words, ONNXFERRY_BUNDLE=stored_bundle)
    assert again.returncode == 2
    assert "--no-overwrite replaces nothing" in again.stderr
    for words in (["verify", stored_bundle], ["inspect", stored_bundle]):
        assert run(*words).returncode == 0
    assert object_store.uploads(bucket.removeprefix("s3://")) == []


def test_parquet_reads_only_the_columns_it_needs(
    bucket: str, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a wide table little more is read than the columns that are scored and carried."""
    random, out = np.random.default_rng(0), io.BytesIO()
    table = {
        name: random.uniform(1, 5, 200_000) for name in ("price", *map(str, range(20)), "rating")
    }
    pq.write_table(pa.table(table), out, row_group_size=50_000, use_dictionary=False)
    _put(f"{bucket}/wide.parquet", content := out.getvalue())
    read: list[int] = []
    once = ObjectReader.read_range

    def count(self: ObjectReader, limits: tuple[int, int]) -> memoryview:
        read.append(limits[1] - limits[0])
        return once(self, limits)

    monkeypatch.setattr(ObjectReader, "read_range", count)
    predictor.score_file(f"{bucket}/wide.parquet", f"{bucket}/out.csv", columns=["price"])
    assert len(content) / 11 < sum(read) < len(content) / 6  # 2 of 22 columns, and the footer


@pytest.mark.parametrize("pattern", ["in", "in/**/*.csv", "in/*/p=[12]/?.csv"])
def test_folders_and_patterns(bucket: str, predictor: Predictor, pattern: str) -> None:
    """Hidden names are skipped on each level and counted; outputs come with their marker."""
    table = b"price,rating\n8,4\n2,2\n"
    for name in ("a/p=1/x.csv", "a/p=2/y.csv", "a/_temporary/0/z.csv", "a/p=1/.x.csv.crc"):
        _put(f"{bucket}/in/{name}", table)
    _put(f"{bucket}/in/_SUCCESS", b"")
    source = f"{bucket}/{pattern}"
    root, names = find_tables(parse_location(source))
    assert [root / name for name in names] == [
        parse_location(f"{bucket}/in/a/{name}") for name in ("p=1/x.csv", "p=2/y.csv")
    ]
    assert find_skipped(parse_location(f"{bucket}/in")).hidden == 3
    summary = predictor.score_file(source, f"{bucket}/out")
    assert summary.rows == 4
    marker = json.loads(_get(f"{bucket}/out/_SUCCESS"))
    assert marker["rows"] == 4
    assert [part["rows"] for part in marker["parts"]] == [2, 2]
    assert _names(f"{bucket}/out") == sorted(
        [*(part["name"] for part in marker["parts"]), "_SUCCESS"]
    )
    with pytest.raises(UsageError, match="holds objects"):
        predictor.score_file(source, f"{bucket}/out")


def test_a_run_that_fails_leaves_nothing(
    bucket: str, predictor: Predictor, object_store: ObjectStore
) -> None:
    """A bad row in the last of several parts: no object appears, and the upload is aborted."""
    good = _encode(_table(600_000).select(["price", "rating", "note"]), "csv")
    _put(f"{bucket}/in/a.csv", good + b"x,1,bad\n")
    for source, out in (("in/a.csv", "out.csv"), ("in", "out")):
        with pytest.raises(DataError, match="1 of 600,001 rows"):
            predictor.score_file(f"{bucket}/{source}", f"{bucket}/{out}")
    assert _names(bucket) == ["in/a.csv"]
    assert object_store.uploads(bucket.removeprefix("s3://")) == []


_WRITES = """
import sys, time
from runtime.io.atomic import atomic_file
from runtime.io.paths import parse_location
with atomic_file(parse_location(sys.argv[1])) as stream:
    stream.write(b"x" * 40_000_000)
    print("written", flush=True)
    time.sleep(60)
"""


def test_few_requests_surround_the_transfer(
    bucket: str, predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes tens of milliseconds elsewhere; a table that is replaced is looked at once."""
    from obstore.store import S3Store

    _put(f"{bucket}/in.csv", _encode(_table(), "csv"))
    asked: list[str] = []

    def recording(method: Callable[..., object]) -> Callable[..., object]:
        def ask(store: object, key: str, **options: object) -> object:
            asked.append(key)
            return method(store, key, **options)

        return ask

    for name in ("head", "get"):
        monkeypatch.setattr(S3Store, name, recording(getattr(S3Store, name)))
    for own in (["out.csv"] * 2, ["out.csv"] * 4):  # absent, then replaced
        score_file(predictor, f"{bucket}/in.csv", f"{bucket}/out.csv")
        assert sorted(asked) == ["in.csv"] * 2 + own
        asked.clear()


def test_text_is_declared_to_be_bytes(bucket: str, object_store: ObjectStore) -> None:
    """SeaweedFS compresses what it takes for text, which makes it several times slower."""
    name, text = bucket.removeprefix("s3://"), b"7.25,2.5,pen,yes\n" * 1_200_000  # two parts
    object_store.client(name).put("other.csv", text[:100_000])
    assert object_store.is_compressed(name, "other.csv")
    with atomic_file(parse_location(f"{bucket}/ours.csv")) as stream:
        stream.write(text)
    assert not object_store.is_compressed(name, "ours.csv")
    assert _get(f"{bucket}/ours.csv") == text


@pytest.mark.parametrize(
    ("endpoint", "asked", "config"),
    [
        ("https://store.example.org", "", {"unsigned_payload": True}),
        ("https://store.example.org", "false", {}),
        ("http://store.example.org", "", {}),
        ("", "", {"unsigned_payload": True}),
    ],
)
def test_content_is_hashed_where_tls_does_not_guard_it(
    endpoint: str, asked: str, config: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without TLS a signature covers the content; with TLS where that is asked for."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setenv("AWS_UNSIGNED_PAYLOAD", asked)
    settings, _ = s3_settings()
    assert {name: each for name, each in settings.items() if name == "unsigned_payload"} == config


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_upload_is_not_visible(
    bucket: str, number: signal.Signals, object_store: ObjectStore
) -> None:
    """Neither a new object nor a change of the old one; an interrupted upload is aborted."""
    _put(f"{bucket}/old.bin", b"old")
    for name in ("old.bin", "new.bin"):
        command = [sys.executable, "-c", _WRITES, f"{bucket}/{name}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ}
        ) as process:
            assert process.stdout
            assert process.stdout.readline() == b"written\n"
            process.send_signal(number)
    assert _names(bucket) == ["old.bin"]
    assert _get(f"{bucket}/old.bin") == b"old"
    if number == signal.SIGINT:
        assert object_store.uploads(bucket.removeprefix("s3://")) == []


def test_of_concurrent_writers_one_wins(bucket: str, predictor: Predictor, tmp_path: Path) -> None:
    """With --no-overwrite exactly one of four runs writes, in a store and locally."""
    (tmp_path / "in.csv").write_bytes(_encode(_table(50_000), "csv"))

    def score(out: Path | str) -> bool:
        try:
            predictor.score_file(tmp_path / "in.csv", out, no_overwrite=True, threads=1)
        except ExistsError:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        for out in (f"{bucket}/out.csv", tmp_path / "out.csv"):
            assert sum(pool.map(score, [out] * 4)) == 1
    assert _get(f"{bucket}/out.csv") == (tmp_path / "out.csv").read_bytes()
    assert _names(bucket) == ["out.csv"]


@pytest.mark.parametrize(
    ("source", "out", "variables", "code", "words"),
    [
        ("B/gone.csv", "B/o.csv", {}, 3, "there is no such object"),
        ("s3://no-such-bucket/in.csv", "B/o.csv", {}, 3, "there is no bucket s3://no-such-bucket"),
        ("B/in.csv", "s3://no-such-bucket/o.csv", {}, 2, "there is no bucket s3://no-such-bucket"),
        ("B/in.csv", "B/o.csv", {"AWS_ACCESS_KEY_ID": "topsecret"}, 6, "check the credentials"),
        ("B/in.csv", "B/o.csv", {"AWS_SECRET_ACCESS_KEY": "topsecret"}, 6, "denied access"),
        (
            "B/in.csv",
            "B/o.csv",
            {"AWS_ENDPOINT_URL": "http://me:topsecret@127.0.0.1:9"},
            6,
            "no connection to 127.0.0.1:9 after 5 attempts",
        ),
        (
            "B/in.csv",
            "B/o.csv",
            {"AWS_ENDPOINT_URL": "topsecret:80"},
            6,
            "the endpoint of s3:// is no",
        ),
        ("B/in.csv", "B/o.csv", {"AWS_SECRET_ACCESS_KEY": "topsecret\n"}, 6, "holds a line break"),
        ("s3://k:topsecret@bucket/in.csv", "B/o.csv", {}, 2, "no credentials and no query"),
        ("B/in.csv?X-Amz-Signature=topsecret", "B/o.csv", {}, 2, "no credentials and no query"),
        ("hdfs://host/in.csv", "B/o.csv", {}, 2, "give a path, or s3://"),
        ("B/in.csv", "B/in.csv", {}, 2, "is the input"),
        ("B/in.csv", "B/json.csv", {}, 2, "is a JSON document, not a table in csv"),
    ],
)
def test_errors_say_what_where_and_what_to_do(  # noqa: PLR0913, PLR0917 - a table
    source: str,
    out: str,
    variables: dict[str, str],
    code: int,
    words: str,
    run: Any,  # noqa: ANN401 - see the fixture
    bucket: str,
    bundle: Path,
) -> None:
    """One line, the documented exit code, and no secret."""
    _put(f"{bucket}/in.csv", b"price,rating\n8,4\n")
    _put(f"{bucket}/json.csv", b'{"a":\n1}')
    source, out = (text.replace("B/", f"{bucket}/") for text in (source, out))
    words_given = ["predict", "--file", source, "--out", out, "--bundle", str(bundle)]
    done = run(*words_given, **variables)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(secret in done.stdout + done.stderr for secret in SECRETS)
    assert _names(bucket) == ["in.csv", "json.csv"]


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 6, and how to install it."""
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UnavailableError, match=r'pip install "onnxferry\[cloud\]"'):
        parse_location("s3://bucket/in.csv").is_file()


def test_a_damaged_or_missing_bundle(bucket: str, stored_bundle: str) -> None:
    """As of local ones: what is wrong, and exit code 4."""
    with pytest.raises(ArtifactError, match="no bundle at"):
        Predictor(f"{bucket}/other")
    _put(f"{stored_bundle}/model.onnx", b"damaged")
    with pytest.raises(ArtifactError, match=r"model.onnx is not the file that was exported"):
        Predictor(stored_bundle)


def test_bundles_travel_and_are_served(bucket: str, stored_bundle: str) -> None:
    """A Scorer reads a bundle of a store, and --models finds those of a prefix."""
    scored = Scorer(stored_bundle)(_table(10))
    assert scored.num_rows == 10
    assert find_bundles([], parse_location(bucket)) == {"bundle": parse_location(stored_bundle)}
    assert find_bundles([f"m={stored_bundle}"], None) == {"m": parse_location(stored_bundle)}


@pytest.fixture
def slow(object_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A proxy before the store; the bucket has a table of 20 MB."""
    _put(f"{bucket}/in.csv", b"price,rating,note\n" + b"8,4,some more text\n" * 1_000_000)
    with cutting_proxy(object_store.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("ONNXFERRY_STORE_TIMEOUT", "0.3")
        yield proxy


def test_a_connection_that_is_cut_once_is_repeated(
    slow: Any,  # noqa: ANN401 - see the fixture
    bucket: str,
    predictor: Predictor,
    tmp_path: Path,
) -> None:
    """A range whose body is cut off is read again: each row once."""
    slow.down, slow.turns = 10_000_000, 1
    assert predictor.score_file(f"{bucket}/in.csv", tmp_path / "out.csv").rows == 1_000_000
    assert slow.cuts >= 1


def test_a_slow_line_is_not_a_lost_one(
    slow: Any,  # noqa: ANN401 - see the fixture
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts that share it are sent in more time than an answer may take."""
    monkeypatch.setenv("ONNXFERRY_STORE_TIMEOUT", "1")
    slow.rate = 20e6
    started = time.monotonic()
    with atomic_file(parse_location(f"{bucket}/out.bin")) as stream:
        stream.write(b"x" * 40_000_000)
    assert time.monotonic() - started > 1.5
    assert len(_get(f"{bucket}/out.bin")) == 40_000_000


@pytest.mark.parametrize("stalls", [False, True], ids=["cut", "stalled"])
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_lost_connection_is_an_error(
    slow: Any,  # noqa: ANN401 - see the fixture
    bucket: str,
    predictor: Predictor,
    tmp_path: Path,
    *,
    stalls: bool,
    way: str,
) -> None:
    """Reading or writing: an error that names the object, soon; nothing is published."""
    source, out = f"{bucket}/in.csv", tmp_path / "out.csv"
    if way == "up":
        (tmp_path / "in.csv").write_bytes(b"price,rating,n\n" + b"8,4,some more text\n" * 1_000_000)
        source, out = tmp_path / "in.csv", f"{bucket}/out.csv"  # type: ignore[assignment]
    setattr(slow, way, 5_000_000)
    slow.stalls = stalls
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"cannot (read|write) s3://.*(try again|network)"):
        predictor.score_file(source, out)
    assert time.monotonic() - started < 60
    slow.down = slow.up = None
    assert not Path(out).exists()
    assert _names(bucket) == ["in.csv"]


def test_an_object_that_changes_is_an_error(bucket: str) -> None:
    """Ranges of two versions are never mixed."""
    _put(f"{bucket}/in.bin", b"1" * 1000)
    reader = open_reader(parse_location(f"{bucket}/in.bin"))  # type: ignore[arg-type]
    _put(f"{bucket}/in.bin", b"2" * 1000)
    with pytest.raises(DataError, match="changed while it was read"):
        reader.read_range((0, 10))


def test_a_seekable_object_reads_like_a_file(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With ranges read ahead or not, in any order, at and beyond the end."""
    monkeypatch.setattr("runtime.io.stores.reading.RANGE_BYTES", 1000)
    content = np.random.default_rng(0).bytes(30_000)
    _put(f"{bucket}/in.bin", content)
    path: ObjectPath = parse_location(f"{bucket}/in.bin")  # type: ignore[assignment]
    random = np.random.default_rng(1)
    with ObjectFile(open_reader(path)) as file:
        for planned in ([], [(0, 5000), (5100, 9000), (600_000, 600_000)], [(2000, 30_000)]):
            file.read_ahead([limits for limits in planned if limits[1] <= len(content)])
            for start, size in random.integers(0, 31_000, (60, 2)).tolist():
                file.seek(start)
                assert file.read(size % 6000) == content[start : start + size % 6000]
    assert join_ranges([(0, 10), (20, 30), (600_000, 600_010), (5, 6)]) == [
        (0, 30),
        (600_000, 600_010),
        (5, 6),
    ]


def test_a_profile_of_the_sdk_is_used(
    bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Keys and endpoint of ~/.aws; a profile that is missing or needs boto3 is named."""
    (tmp_path / "credentials").write_text(
        "[night]\naws_access_key_id = user\naws_secret_access_key = user-secret\n"
    )
    (tmp_path / "config").write_text(
        f"[profile night]\nregion = us-east-1\nendpoint_url = {object_store.endpoint}\n"
        "[profile sso]\nsso_session = us\n"
    )
    for name in object_store.variables:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "night")
    _put(f"{bucket}/in.csv", b"1")
    assert _get(f"{bucket}/in.csv") == b"1"
    for profile, words in (("gone", "no profile 'gone'"), ("sso", "needs boto3")):
        monkeypatch.setenv("AWS_PROFILE", profile)
        with pytest.raises(UnavailableError, match=words):
            _get(f"{bucket}/in.csv")
