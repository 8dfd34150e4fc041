"""The OCI layout, read by the rules of the specification and by a real registry."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from exporter.packaging.options import PackageOptions
from exporter.packaging.package import package_bundle
from runtime.bundle.reading import read_bundle
from runtime.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PULL = """
import sys
from oras.client import OrasClient
OrasClient(insecure=True, tls_verify=False).pull(target=sys.argv[1], outdir=sys.argv[2])
"""


@pytest.fixture(scope="module")
def layout(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The layout."""
    return package_bundle(sales, "oci", tmp_path_factory.mktemp("packages") / "oci").path


def read_blob(layout: Path, descriptor: Mapping[str, Any]) -> bytes:
    """Read what a descriptor names, by the rules of descriptor.md."""
    assert re.fullmatch(r"[a-z]+/[a-z0-9.+-]+", descriptor["mediaType"])
    algorithm, digest = descriptor["digest"].split(":")
    assert re.fullmatch(r"[0-9a-f]{64}", digest)
    content: bytes = (layout / "blobs" / algorithm / digest).read_bytes()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (digest, descriptor["size"])
    return content


def descriptors(layout: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """All descriptors that the index leads to, with their content; JSON is parsed."""
    pending = list(json.loads((layout / "index.json").read_bytes())["manifests"])
    while pending:
        descriptor = pending.pop()
        content: Any = read_blob(layout, descriptor)
        if descriptor["mediaType"].endswith("+json"):
            content = json.loads(content)
            assert content.get("mediaType", descriptor["mediaType"]) == descriptor["mediaType"]
            pending += content.get("manifests", [])
            pending += [content["config"], *content["layers"]] if "layers" in content else []
        yield descriptor, content


def test_the_index_leads_to_every_blob_by_its_digest_and_size(layout: Path) -> None:
    """Digest, size and media type of each; no blob that nothing names."""
    assert json.loads((layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    named = {one["digest"].partition(":")[2] for one, _ in descriptors(layout)}
    assert named == {path.name for path in (layout / "blobs" / "sha256").iterdir()}
    manifests = [content for one, content in descriptors(layout) if one["mediaType"] == MANIFEST]
    assert [one["schemaVersion"] for one in manifests] == [2, 2, 2]


def test_the_image_has_the_bundle_below_models(layout: Path, sales: Path, tmp_path: Path) -> None:
    """Both architectures have one layer, undated and root's, whose bundle is whole."""
    (index,) = (content for one, content in descriptors(layout) if one["mediaType"] == INDEX)
    platforms = [one["platform"] for one in index["manifests"]]
    assert [one["architecture"] for one in platforms] == ["amd64", "arm64"]
    for one, platform in zip(index["manifests"], platforms, strict=True):
        manifest = json.loads(read_blob(layout, one))
        config = json.loads(read_blob(layout, manifest["config"]))
        assert {key: config[key] for key in platform} == platform
        (layer,) = manifest["layers"]
        assert config["rootfs"] == {"type": "layers", "diff_ids": [layer["digest"]]}
    with tarfile.open(fileobj=io.BytesIO(read_blob(layout, layer))) as archive:
        members = archive.getmembers()
        archive.extractall(tmp_path)  # noqa: S202 - our own
    assert {(one.uid, one.gid, one.mtime) for one in members} == {(0, 0, 0)}
    assert {oct(one.mode) for one in members} == {"0o755", "0o644"}
    assert read_bundle(tmp_path / "models").files == read_bundle(sales).files


def test_the_artifact_is_a_modelpack(layout: Path, sales: Path) -> None:
    """Its type, its configuration, and a layer a file."""
    (artifact,) = (one for one, _ in descriptors(layout) if "artifactType" in one)
    manifest = json.loads(read_blob(layout, artifact))
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    config = json.loads(read_blob(layout, manifest["config"]))
    assert config.keys() == {"descriptor", "config", "modelfs"}
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]
    files = {
        layer["annotations"]["org.cncf.model.filepath"]: read_blob(layout, layer)
        for layer in manifest["layers"]
    }
    assert files == {path.name: path.read_bytes() for path in sales.iterdir()}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of images that runs."""
    program = shutil.which("docker-registry")
    if program is None:
        pytest.skip("needs Debian's docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(json.dumps(settings))
    with subprocess.Popen(
        [program, "serve", folder / "config.yml"], stderr=subprocess.DEVNULL
    ) as run:
        try:
            for _ in range(200):
                try:
                    send(f"http://{address}/v2/", "GET")
                    break
                except urllib.error.URLError:
                    time.sleep(0.05)
            yield address
        finally:
            run.terminate()


def send(
    url: str, method: str, body: bytes | None = None, **fields: str
) -> tuple[Mapping[str, str], bytes]:
    """Send a request; the response's header fields and body."""
    fields = {"Content-Type": "application/octet-stream", **fields}
    request = urllib.request.Request(url, body, fields, method=method)  # noqa: S310 - the registry's
    with urllib.request.urlopen(request) as response:  # noqa: S310 - likewise
        return response.headers, response.read()


@pytest.mark.slow
def test_a_registry_takes_it_and_gives_it_back(
    layout: Path, registry: str, sales: Path, tmp_path: Path, tool: Callable[[str], Path]
) -> None:
    """Pushed by digest; the index is found by tag, and oras pulls the bundle."""
    base = f"http://{registry}/v2/churn"
    found = list(descriptors(layout))
    for descriptor, _ in found:
        if descriptor["mediaType"] not in {INDEX, MANIFEST}:
            at = send(f"{base}/blobs/uploads/", "POST", b"")[0]["Location"]
            send(f"{at}&digest={descriptor['digest']}", "PUT", read_blob(layout, descriptor))
    manifests = [one for one, _ in found if one["mediaType"] == MANIFEST]
    for one in (*manifests, *(one for one, _ in found if one["mediaType"] == INDEX)):
        tag = one.get("annotations", {}).get("org.opencontainers.image.ref.name", one["digest"])
        kind = {"Content-Type": one["mediaType"]}
        stored, _ = send(f"{base}/manifests/{tag}", "PUT", read_blob(layout, one), **kind)
        assert stored["Docker-Content-Digest"] == one["digest"]
    version = read_bundle(sales).manifest.model.version
    _, index = send(f"{base}/manifests/{version}", "GET", Accept=INDEX)
    assert json.loads(index)["manifests"][1]["platform"]["architecture"] == "arm64"
    target = f"{registry}/churn:{version}-modelpack"
    subprocess.run([tool("python"), "-c", _PULL, target, tmp_path], check=True, capture_output=True)
    assert read_bundle(tmp_path).files == read_bundle(sales).files


def test_it_builds_upon_a_base(layout: Path, sales: Path, tmp_path: Path) -> None:
    """Each architecture keeps the base's layers and settings, below ours."""
    base = tmp_path / "base"
    shutil.copytree(layout, base)
    index = json.loads((base / "index.json").read_bytes())
    options = PackageOptions(base=base)
    with pytest.raises(UsageError, match="has 2 images"):
        package_bundle(sales, "oci", tmp_path / "out", options)
    index["manifests"].pop()  # the artifact
    (base / "index.json").write_text(json.dumps(index))
    out = package_bundle(sales, "oci", tmp_path / "out", options).path
    (top,) = (content for one, content in descriptors(out) if one["mediaType"] == INDEX)
    assert [one["platform"]["architecture"] for one in top["manifests"]] == ["amd64", "arm64"]
    for one in top["manifests"]:
        manifest = json.loads(read_blob(out, one))
        config = json.loads(read_blob(out, manifest["config"]))
        assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
        assert len(manifest["layers"]) == len(config["history"]) == 2
        assert config["config"]["User"] == "65532:65532"
    layer = manifest["layers"][0]["digest"].partition(":")[2]
    (base / "blobs" / "sha256" / layer).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match=f"{layer} is damaged"):
        package_bundle(sales, "oci", tmp_path / "other", options)


def test_a_folder_that_is_no_layout_is_refused(sales: Path, tmp_path: Path) -> None:
    """The error says how to write one."""
    options = PackageOptions(base=tmp_path)
    with pytest.raises(UsageError, match="skopeo copy"):
        package_bundle(sales, "oci", tmp_path / "out", options)
    (tmp_path / "index.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged"):
        package_bundle(sales, "oci", tmp_path / "out", options)
