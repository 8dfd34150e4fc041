"""Kubernetes and KServe: accepted by their own tools, and equal to what the server does."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from signers import Signer
from typer.main import get_command

from exporter.packaging.options import PackageOptions
from exporter.packaging.package import package_bundle
from runtime.bundle.reading import read_bundle
from runtime.cli.app import app as runtime_app
from runtime.serving.app import build_app
from runtime.serving.models.repository import Repository
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.packaging.kinds import Kind

IMAGE = "registry.example:5000/team/churn@sha256:" + "1" * 64
# Reads objects as KServe's types name their fields: an unknown field or another type fails.
_KSERVE_TYPES = """
import re, sys, warnings
warnings.simplefilter("ignore")
import kserve.models, kubernetes.client.models, yaml

def check(value, kind, where):
    if match := re.fullmatch(r"[lL]ist\\[(.*)\\]", kind):
        [check(one, match[1], f"{where}[{i}]") for i, one in enumerate(value)]
    elif match := re.fullmatch(r"[dD]ict[(\\[]str, (.*)[)\\]]", kind):
        [check(one, match[1], f"{where}.{key}") for key, one in value.items()]
    elif kind in {"str", "int", "bool"}:
        assert type(value).__name__ == kind, (where, kind, value)
    elif kind == "object":
        pass
    else:
        known = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
        names = {json: name for name, json in known.attribute_map.items()}
        for key, one in value.items():
            assert key in names, f"{where} has no field {key}"
            check(one, known.openapi_types[names[key]], f"{where}.{key}")
        known(**{names[key]: one for key, one in value.items()})  # required fields

for path, kind in zip(sys.argv[1:3], sys.argv[3:], strict=True):
    check(yaml.safe_load(open(path)), kind, kind)
"""


def read(folder: Path) -> dict[str, Any]:
    """The objects of a package, by kind."""
    yaml = pytest.importorskip("yaml")
    objects = [yaml.safe_load(path.read_bytes()) for path in sorted(folder.glob("*.yaml"))]
    return {one["kind"]: one for one in objects}


@pytest.fixture(scope="module")
def folder(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for Kubernetes."""
    out = tmp_path_factory.mktemp("packages") / "kubernetes"
    return package_bundle(sales, "kubernetes", out, PackageOptions(image=IMAGE)).path


@pytest.fixture(scope="module")
def kserve_folder(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package for KServe."""
    out = tmp_path_factory.mktemp("packages") / "kserve"
    options = PackageOptions(image=IMAGE, storage_uri="oci://registry.example/churn:1")
    return package_bundle(sales, "kserve", out, options).path


@pytest.mark.slow
def test_kubernetes_accepts_every_object(folder: Path, tool: Callable[[str], Path]) -> None:
    """``kubernetes-validate --strict`` knows every field, in the newest API it has."""
    files = sorted(folder.glob("*.yaml"))
    command: list[str | Path] = [tool("kubernetes-validate"), "--strict", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed ") == len(files) == 5


@pytest.mark.slow
def test_kserve_accepts_its_objects(kserve_folder: Path, tool: Callable[[str], Path]) -> None:
    """The SDK's types know every field."""
    files = [kserve_folder / "servingruntime.yaml", kserve_folder / "inferenceservice.yaml"]
    kinds = ["V1alpha1ServingRuntime", "V1beta1InferenceService"]
    command: list[str | Path] = [tool("python"), "-c", _KSERVE_TYPES, *files, *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_objects_belong_together(folder: Path) -> None:
    """Selectors, labels and ports; the pod needs no privilege and has time to drain."""
    objects = read(folder)
    pod = objects["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    selectors = [
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        objects["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(one["labelSelector"]["matchLabels"] for one in pod["spec"]["topologySpreadConstraints"]),
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "simplenet"
    assert container["image"] == IMAGE
    assert container["ports"][0]["name"] == objects["Service"]["spec"]["ports"][0]["targetPort"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert "runAsUser" not in container["securityContext"]
    drain = int(container["args"][container["args"].index("--drain-timeout") + 1])
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] > drain + pause


@pytest.mark.parametrize("package", ["folder", "kserve_folder"])
def test_the_container_runs_a_command_of_ours(package: str, request: pytest.FixtureRequest) -> None:
    """Options that ``runtime serve`` has, and paths that it answers."""
    objects = read(request.getfixturevalue(package))
    pod = objects.get("ServingRuntime") or objects["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    program, command = container["command"]
    assert program == "runtime"
    serve = get_command(runtime_app).commands[command]  # type: ignore[attr-defined]
    given = serve.make_context(command, list(container["args"])).params
    assert given["host"] == "0.0.0.0"  # noqa: S104 - of the pod
    assert given["port"] == container["ports"][0]["containerPort"]
    probes = [value for key, value in container.items() if key.endswith("Probe")]
    assert {probe["httpGet"]["port"] for probe in probes} == {given["port"]}
    assert {probe["httpGet"]["path"] for probe in probes} <= routes()


@pytest.mark.parametrize("kind", ["kubernetes", "kserve"])
def test_pods_demand_the_key_of_the_package(
    kind: Kind, sales: Path, tmp_path: Path, tool: Callable[[str], Path]
) -> None:
    """The ConfigMap has it, and the server takes it from where the pod mounts it."""
    signer = Signer(tmp_path / "keys")
    bundle = Path(shutil.copytree(sales, tmp_path / "bundle"))
    signer.sign(bundle)
    options = PackageOptions(storage_uri="s3://models/sales" if kind == "kserve" else None)
    made = package_bundle(bundle, kind, tmp_path / "out", options, key=signer.public)
    objects = read(made.path)
    key = objects["ConfigMap"]
    (name,) = key["data"]
    (tmp_path / name).write_text(key["data"][name])
    assert read_bundle(bundle, tmp_path / name).signature_state == "verified"
    owner = objects.get("ServingRuntime") or objects["Deployment"]["spec"]["template"]
    (container,) = owner["spec"]["containers"]
    (volume,) = (one for one in owner["spec"]["volumes"] if "configMap" in one)
    assert volume["configMap"]["name"] == key["metadata"]["name"]
    (mount,) = (one for one in container["volumeMounts"] if one["name"] == volume["name"])
    serve = get_command(runtime_app).commands["serve"]  # type: ignore[attr-defined]
    given = serve.make_context("serve", list(container["args"])).params
    assert str(given["key"]) == f"{mount['mountPath']}/{name}"
    checked = sorted(made.path.glob("*.yaml"))
    command: list[str | Path] = [tool("kubernetes-validate"), "--strict", *checked]
    if kind == "kserve":
        names = ("servingruntime.yaml", "configmap.yaml")
        files = [made.path / one for one in names]
        kinds = ["V1alpha1ServingRuntime", "V1ConfigMap"]
        command = [tool("python"), "-c", _KSERVE_TYPES, *files, *kinds]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def routes() -> set[str]:
    """The paths of the server."""

    async def build() -> set[str]:
        repository = Repository({}, "cpu", DEFAULT_LIMITS, lambda *_: None)
        return set(build_app(repository, DEFAULT_LIMITS, Traffic(), Logger()).routes)

    return asyncio.run(build())
