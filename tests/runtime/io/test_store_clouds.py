"""``gs://`` and ``az://`` from end to end: as S3 in ``test_stores``, with their own credentials.

Google's XML API is a front of ours before a real store. ``az://`` is Azurite, Microsoft's emulator,
where ``ONNXFERRY_AZURITE`` names its program ``azurite-blob``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from runtime import Predictor
from runtime.errors import DataError, ExistsError, UsageError
from runtime.io.atomic import atomic_file
from runtime.io.paths import parse_location
from runtime.io.stores.listing import list_objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_server import ObjectStore

pytestmark = pytest.mark.object_store
AZURITE = os.environ.get("ONNXFERRY_AZURITE")
TABLE = b"price,rating\n" + b"8,4\n2,2\n" * 1_000
NAMES = ("a/p=1/x.csv", "a/p=2/y ü+%41#.csv")
SECRET = "topsecret"  # noqa: S105 - of nobody


@pytest.fixture(scope="module")
def google(
    object_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Variables of a service account."""
    from google_front import ServiceAccount, google_front

    account, key = ServiceAccount(), tmp_path_factory.mktemp("google") / "key.json"
    with google_front(object_store, account) as url:
        account.write(key)
        ServiceAccount().write(key.with_name("other.json"))
        yield {"GOOGLE_APPLICATION_CREDENTIALS": str(key), "GOOGLE_BASE_URL": url}


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Variables of Azurite's account."""
    from azurite import ACCOUNT, KEY, azurite

    assert AZURITE
    with azurite(AZURITE, tmp_path_factory.mktemp("azurite")) as endpoint:
        yield {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": endpoint,
        }


@pytest.fixture(params=["gs", *(["az"] if AZURITE else [])])
def cloud(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URI of a new bucket, for which the environment has credentials."""
    name = f"test-{os.urandom(6).hex()}"
    variables = request.getfixturevalue({"gs": "google", "az": "azure"}[request.param])
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if request.param == "az":
        from azurite import create_container

        create_container(variables["AZURE_STORAGE_ENDPOINT"], name)
    else:
        request.getfixturevalue("object_store").put_raw(name, "first", b"")
        _put(f"gs://{name}", "first", b"")
        parse_location(f"gs://{name}/first").store.delete("first")  # type: ignore[union-attr]
    return f"{request.param}://{name}"


def _put(folder: str, name: str, content: bytes = TABLE) -> None:
    path: Any = parse_location(folder) / name
    path.store.put(path.key, content)


def _get(uri: str) -> bytes:
    path: Any = parse_location(uri)
    return bytes(path.read_bytes())


def _names(uri: str) -> list[str]:
    prefix: Any = parse_location(uri)
    return sorted(str(each.path).removeprefix(f"{uri}/") for each in list_objects(prefix))


def test_a_bundle_and_tables_of_a_cloud_are_scored_whole(
    cloud: str, bundle: Path, predictor: Predictor, tmp_path: Path
) -> None:
    """The bytes of local files; nothing is replaced, and a run that fails leaves nothing."""
    for path in bundle.iterdir():
        _put(f"{cloud}/bundle", path.name, path.read_bytes())
    stored = Predictor(f"{cloud}/bundle")
    _put(cloud, "in.csv")
    (tmp_path / "in.csv").write_bytes(TABLE)
    predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    for once_more in (False, True):
        summary = stored.score_file(f"{cloud}/in.csv", f"{cloud}/out.csv")
        assert summary.rows == 2_000
        assert _get(f"{cloud}/out.csv") == (tmp_path / "out.csv").read_bytes(), once_more
    stored.score_file(f"{cloud}/in.csv", f"{cloud}/new.parquet", no_overwrite=True)
    with pytest.raises(ExistsError, match="replaces nothing"):
        stored.score_file(f"{cloud}/in.csv", f"{cloud}/new.parquet", no_overwrite=True)
    assert stored.score_file(f"{cloud}/new.parquet", tmp_path / "again.csv", prefix="n_").rows
    _put(cloud, "bad.csv", TABLE + b"x,1\n")
    rejected = stored.score_file(
        f"{cloud}/bad.csv", f"{cloud}/good.csv", bad_rows="reject", rejects=f"{cloud}/rejects.csv"
    )
    assert rejected.rejected == 1
    with pytest.raises(DataError, match=r"1 of 2,001 rows"):
        stored.score_file(f"{cloud}/bad.csv", f"{cloud}/never.csv")
    written = {"good.csv", "new.parquet", "out.csv", "rejects.csv"}
    assert {name for name in _names(cloud) if "/" not in name} == {"bad.csv", "in.csv", *written}


def test_a_folder_of_a_cloud_is_published_whole(cloud: str, predictor: Predictor) -> None:
    """With its marker and ETags as HTTP writes them; into one that holds objects never."""
    for name in (*NAMES, "a/_temporary/0/z.csv"):
        _put(f"{cloud}/in", name)
    assert predictor.score_file(f"{cloud}/in", f"{cloud}/out").rows == 4_000
    assert _names(f"{cloud}/out") == sorted([*NAMES, "_SUCCESS"])
    for part in json.loads(_get(f"{cloud}/out/_SUCCESS"))["parts"]:
        assert part["etag"] == parse_location(f"{cloud}/out/{part['name']}").etag()  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="holds objects"):
        predictor.score_file(f"{cloud}/in", f"{cloud}/out")


def test_an_upload_of_several_parts_is_whole_or_absent(cloud: str) -> None:
    """Completed, aborted, and on the condition that there is none."""
    content = bytes(range(256)) * 150_000  # three parts
    for name, replaces in (("a.bin", True), ("b.bin", False)):
        with atomic_file(parse_location(f"{cloud}/{name}"), replaces=replaces) as stream:
            stream.write(content)
        assert _get(f"{cloud}/{name}") == content
    with suppress(KeyError), atomic_file(parse_location(f"{cloud}/c.bin")) as stream:
        stream.write(content)
        raise KeyError
    assert _names(cloud) == ["a.bin", "b.bin"]


def test_errors_of_a_cloud_say_what_where_and_what_to_do(
    cloud: str, bundle: Path, environment: dict[str, str]
) -> None:
    """A wrong key, a missing bucket to read and to write: one line, its exit code, no secret."""
    _put(cloud, "in.csv")
    scheme, key = cloud.partition("://")[0], os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    wrong = (
        {"GOOGLE_APPLICATION_CREDENTIALS": str(Path(key).with_name("other.json"))}
        if scheme == "gs"
        else {"AZURE_STORAGE_KEY": f"{SECRET}AAA"}
    )
    for source, out, variables, code, words in (
        (f"{cloud}/in.csv", f"{cloud}/o.csv", wrong, 6, "denied access (40"),
        (f"{cloud}/gone.csv", f"{cloud}/o.csv", {}, 3, "there is no such object"),
        (f"{scheme}://no-such-one/in.csv", f"{cloud}/o.csv", {}, 3, f"{scheme}://no-such-one;"),
        (f"{cloud}/in.csv", f"{scheme}://no-such-one/o.csv", {}, 2, f"{scheme}://no-such-one;"),
    ):
        command = [sys.executable, "-m", "runtime", "predict", "--bundle", str(bundle)]
        command += ["--file", source, "--out", out]
        env = {**environment, **os.environ, **variables}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
        assert words in done.stderr
        assert not any(each in done.stderr for each in (SECRET, "eyJ", "Signature", "SharedKey"))
