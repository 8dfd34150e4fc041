"""Kubeflow's TrainJob: its types know it, and ``trainer fit`` reads its words as they are meant."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from typer.main import get_command

from exporter.packaging.options import PackageOptions
from exporter.packaging.package import package_bundle
from exporter.packaging.trainjob import training_arguments
from exporter.source.candidate import candidate_from_run
from runtime.bundle.manifest import Manifest, parse_manifest
from runtime.errors import UsageError
from runtime.printable import join_names
from trainer.cli import app as trainer_app

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from trainer.run import Run

IMAGE = "registry.example/team/trainer:1"
# An unknown field is lost on the way through Kubeflow's own types, and a missing one is an error.
_KUBEFLOW_TYPES = """
import json, sys, yaml
import kubeflow_trainer_api.models as models

for path in sys.argv[1:]:
    given = yaml.safe_load(open(path))
    kind = getattr(models, "TrainerV1alpha1" + given["kind"])
    read = kind.from_dict(given).to_dict()
    assert read == given, (path, read)
"""


@pytest.fixture(scope="module")
def folder(sales: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of two nodes."""
    options = PackageOptions(image=IMAGE, claim="team", data="sales/2026.csv", nodes=2)
    return package_bundle(
        sales, "trainjob", tmp_path_factory.mktemp("packages") / "trainjob", options
    ).path


def read(path: Path) -> Any:  # noqa: ANN401 - an object of YAML
    """The object of a file."""
    return pytest.importorskip("yaml").safe_load(path.read_bytes())


@pytest.mark.slow
def test_kubeflow_and_kubernetes_know_every_field(
    folder: Path, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    """The SDK's types hold the objects, ``kubernetes-validate --strict`` the pod."""
    files = sorted(folder.glob("*.yaml"))
    assert [path.name for path in files] == ["trainingruntime.yaml", "trainjob.yaml"]
    done = subprocess.run(
        [tool("python"), "-c", _KUBEFLOW_TYPES, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (job,) = read(files[0])["spec"]["template"]["spec"]["replicatedJobs"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    pod |= {"spec": job["template"]["spec"]["template"]["spec"]}
    (tmp_path / "pod.yaml").write_text(json.dumps(pod))
    done = subprocess.run(
        [tool("kubernetes-validate"), "--strict", tmp_path / "pod.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_objects_belong_together(folder: Path) -> None:
    """Runtime, volume and paths; torchrun starts one process a node, and finds the variables."""
    runtime, job = read(folder / "trainingruntime.yaml"), read(folder / "trainjob.yaml")
    trainer, template = job["spec"]["trainer"], runtime["spec"]["template"]["spec"]
    (pods,) = template["replicatedJobs"]
    (container,) = pods["template"]["spec"]["template"]["spec"]["containers"]
    assert job["spec"]["runtimeRef"]["name"] == runtime["metadata"]["name"]
    assert (pods["name"], container["name"]) == ("node", "node")
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 1)
    assert trainer["command"] == ["torchrun", "-m", "trainer"]
    mounted = {one["mountPath"] for one in container["volumeMounts"]}
    for option in ("--data=", "--out="):
        (path,) = (word.removeprefix(option) for word in trainer["args"] if option in word)
        assert "/workspace" in mounted & {str(one) for one in PurePosixPath(path).parents}


def _fit(words: list[str]) -> dict[str, Any]:
    """Read words as the command does; the options that differ from their defaults."""
    command = get_command(trainer_app).commands["fit"]  # type: ignore[attr-defined]
    assert words[0] == "fit"
    context = command.make_context("fit", list(words[1:]))
    given: dict[str, Any] = context.params
    defaults = command.make_context("fit", []).params
    return {name: value for name, value in given.items() if value != defaults[name]}


def _manifest(bundle: Path, **configuration: object) -> Manifest:
    manifest = parse_manifest((bundle / "manifest.json").read_bytes(), where="")
    known: Any = manifest.provenance.configuration | configuration
    provenance = msgspec.structs.replace(manifest.provenance, configuration=known)
    return msgspec.structs.replace(manifest, provenance=provenance)


def test_the_words_repeat_the_training(sales: Path, products: Path) -> None:
    """Every option of the training, as ``trainer fit`` reads it."""
    more: dict[str, object] = {"hidden": "64,8", "rare": "other", "missing": "NA,-"}
    more |= {"date_format": join_names(["a=%d, %m", "dmy"])}
    more |= {"fold_categories": True, "optimiser": "adamw", "device": "cuda", "processes": 4}
    found = _fit(training_arguments(_manifest(sales, **more), "s3://bucket/sales.csv"))
    assert {name: str(value) for name, value in found.items()} == {
        "data": "s3://bucket/sales.csv",
        "label": "sold",
        "features": "price,colour,rating,size",
        "categories": "colour,size",
        "fold_categories": "True",
        "missing": "NA,-",
        "date_format": "('a=%d, %m', 'dmy')",
        "rare": "other",
        "test_fraction": "0.2",
        "out": "/workspace/runs/simplenet",
        "preset": "default",
        "seed": "1",
        "hidden": "64,8",
        "epochs": "134",
        "batch_size": "32",
        "learning_rate": "0.1",
        "schedule": "cosine",
        "optimiser": "adamw",
        "weight_decay": "0.0",
        "class_weights": "none",
        "validation": "0.0",
        "resume": "True",
    }
    synthetic = _fit(training_arguments(_manifest(products), None))
    assert {"data", "label", "features"}.isdisjoint(synthetic)


def test_widths_of_hidden_layers_are_recorded(run: Run) -> None:
    """A bundle says how wide they are, unless they are the default."""
    wide = replace(run, record=msgspec.structs.replace(run.record, hidden=(64, 8)))
    assert candidate_from_run(wide).provenance.configuration["hidden"] == "64,8"
    assert "hidden" not in candidate_from_run(run).provenance.configuration


def test_a_name_is_no_variable_of_the_pod(sales: Path, tmp_path: Path) -> None:
    """Kubernetes replaces ``$(NAME)`` in arguments, unless the sign is doubled."""
    options = PackageOptions(image=IMAGE, claim="team", data="$(HOME)/a.csv")
    made = package_bundle(sales, "trainjob", tmp_path / "out", options)
    assert (
        "--data=/workspace/$$(HOME)/a.csv"
        in read(made.path / "trainjob.yaml")["spec"]["trainer"]["args"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (PackageOptions(claim="a", data="b"), "needs --image"),
        (PackageOptions(image=IMAGE, data="b"), "needs --image"),
        (PackageOptions(image=IMAGE, claim="a"), "needs --data"),
        (PackageOptions(image=IMAGE, claim="a", data="/b"), "no path within the claim"),
        (PackageOptions(image=IMAGE, claim="a", data="b/../../c"), "no path within the claim"),
    ],
    ids=range(5),
)
def test_what_is_missing_or_leads_elsewhere_is_refused(
    sales: Path, tmp_path: Path, options: PackageOptions, said: str
) -> None:
    """Nothing is written."""
    with pytest.raises(UsageError, match=said):
        package_bundle(sales, "trainjob", tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
