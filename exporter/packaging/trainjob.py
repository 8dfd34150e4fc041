"""Kubeflow: a TrainJob that repeats the training of a bundle's model, and the runtime it needs.

Kubeflow sets ``PET_NNODES``, ``PET_NPROC_PER_NODE``, ``PET_NODE_RANK``, ``PET_MASTER_ADDR`` and
``PET_MASTER_PORT``, which torchrun reads. A pod that is lost ends the others; all are made again
and go on from the last checkpoint. Source: API trainer.kubeflow.org/v1alpha1 (Kubeflow Trainer 2).
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from exporter.packaging.kubernetes import container_security
from exporter.packaging.names import check_claim, kubernetes_name
from exporter.packaging.yaml import to_yaml
from runtime.errors import UsageError
from runtime.printable import join_names
from runtime.terminal.options import split_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.packaging.kubernetes import Object
    from exporter.packaging.options import PackageOptions
    from runtime.bundle.manifest import Manifest, Model, Scalar
    from runtime.bundle.reading import BundleFiles
    from runtime.schema.features import Feature, Schema

_API: Final = "trainer.kubeflow.org/v1alpha1"
_WORKSPACE: Final = "/workspace"  # where the claim is mounted
_MAX_RESTARTS: Final = 3
_IMPLIED: Final = frozenset({"standardise", "device", "processes"})  # by preset, image and nodes
_TEST_SHARE: Final = "test_fraction"  # recorded of a table, 0 with a test set of its own
_COMMENT: Final = """\
Repeats the training of {model} {version} with the same options.{test}
Set resourcesPerNode for your data, with GPUs if the image has CUDA."""
_TEST_SET: Final = "\nThat was tested on a table of its own: add --test and its path to args."


def trainjob_files(bundle: BundleFiles, options: PackageOptions) -> dict[str, bytes]:
    """Write a TrainingRuntime with the volume, and the TrainJob."""
    if options.image is None or options.claim is None:
        raise UsageError(
            "--to trainjob needs --image, one with onnxferry[train], and --claim, the "
            "PersistentVolumeClaim with the data, where the run is written"
        )
    manifest = bundle.manifest
    model, image = manifest.model, options.image_for(manifest.model)
    tested = manifest.provenance.configuration.get(_TEST_SHARE) == 0
    comment = _COMMENT.format(
        model=model.name, version=model.version, test=_TEST_SET if tested else ""
    )
    arguments = training_arguments(manifest, options.data)
    return {
        "trainingruntime.yaml": to_yaml(
            _training_runtime(model, image, check_claim(options.claim))
        ),
        "trainjob.yaml": to_yaml(
            _train_job(manifest, image, arguments, options.nodes or 1), comment=comment
        ),
    }


def training_arguments(manifest: Manifest, data: str | None) -> list[str]:
    """Return the words after ``trainer`` that repeat the training of a model.

    Args:
        manifest: of its bundle.
        data: the table, a path in the claim or a URI; None for the synthetic products.

    Returns:
        ``fit`` and its options.

    Raises:
        UsageError: when ``data`` is missing or leads out of the claim, or the model was trained
            elsewhere.
    """
    provenance = manifest.provenance
    if provenance.seed is None:
        raise UsageError("--to trainjob repeats trainer fit, and this model was trained elsewhere")
    options = dict(provenance.configuration)
    words = ["fit", f"--out={_WORKSPACE}/runs/{kubernetes_name(manifest.model.name)}"]
    words += ["--resume", f"--seed={provenance.seed}"]
    if data is not None or _TEST_SHARE in options:
        words += _table_words(manifest.schema, data, has_rare=options.get("rare") == "other")
    for name, value in options.items():
        if name not in _IMPLIED:
            words += _option_words(name, value)
    return words


def _table_words(schema: Schema, data: str | None, *, has_rare: bool) -> Iterator[str]:
    """Name the columns of the table as the bundle knows them."""
    if data is None:
        raise UsageError("--to trainjob needs --data, the table's path in the claim or its URI")
    yield f"--data={_find_in_claim(data)}"
    yield f"--label={schema.target}"
    yield f"--features={join_names(schema.feature_names)}"
    if categories := [one.name for one in schema.features if _is_category(one)]:
        yield f"--categories={join_names(categories)}"
    if not has_rare and any(
        one.one_hot and one.one_hot.unseen == "other" for one in schema.features
    ):
        yield "--unseen=other"


def _is_category(feature: Feature) -> bool:
    return bool(feature.categories) and not feature.is_boolean


def _find_in_claim(data: str) -> str:
    if "://" in data:
        return data
    path = PurePosixPath(data)
    if path.is_absolute() or ".." in path.parts:
        raise UsageError(f"--data {data} is no path within the claim: give it from its root on")
    return f"{_WORKSPACE}/{path}"


def _option_words(name: str, value: Scalar) -> list[str]:
    flag = f"--{name.replace('_', '-')}"
    if value is None or value is False or (name == _TEST_SHARE and not value):
        return []
    if value is True:
        return [flag]
    if name == "date_format":
        return [f"{flag}={text}" for text in split_names(str(value)) or ()]
    return [f"{flag}={value}"]


def _train_job(manifest: Manifest, image: str, arguments: list[str], nodes: int) -> Object:
    model = manifest.model
    return {
        "apiVersion": _API,
        "kind": "TrainJob",
        "metadata": {
            "name": kubernetes_name(model.name),
            "labels": {"app.kubernetes.io/managed-by": "onnxferry"},
            "annotations": {"onnxferry-model": model.name},
        },
        "spec": {
            "runtimeRef": {
                "apiGroup": _API.partition("/")[0],
                "kind": "TrainingRuntime",
                "name": _runtime_name(model),
            },
            "trainer": {
                "image": image,
                "command": ["torchrun", "-m", "trainer"],
                "args": [word.replace("$(", "$$(") for word in arguments],  # else a variable
                "numNodes": nodes,
                "numProcPerNode": 1,
            },
        },
    }


def _runtime_name(model: Model) -> str:
    return f"{kubernetes_name(model.name)}-trainer"


def _training_runtime(model: Model, image: str, claim: str) -> Object:
    container: Object = {
        "name": "node",  # Kubeflow's name for the container of the trainer
        "image": image,
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "workspace", "mountPath": _WORKSPACE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - torchrun's own files
        ],
    }
    pod: Object = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",  # the JobSet makes all pods again
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    job: Object = {
        "name": "node",
        "template": {
            "metadata": {"labels": {"trainer.kubeflow.org/trainjob-ancestor-step": "trainer"}},
            "spec": {"backoffLimit": 0, "template": {"spec": pod}},
        },
    }
    return {
        "apiVersion": _API,
        "kind": "TrainingRuntime",
        "metadata": {
            "name": _runtime_name(model),
            "labels": {"trainer.kubeflow.org/framework": "torch"},
        },
        "spec": {
            "mlPolicy": {"numNodes": 1, "torch": {}},
            "template": {
                "spec": {
                    "failurePolicy": {"maxRestarts": _MAX_RESTARTS},
                    "replicatedJobs": [job],
                }
            },
        },
    }
