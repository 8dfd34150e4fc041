"""KServe: a ServingRuntime that runs our server, and the InferenceService of a bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.packaging.keys import key_arguments, key_config_map, key_mounts, key_volumes
from exporter.packaging.kubernetes import (
    PORT,
    container_resources,
    container_security,
    readiness_probe,
)
from exporter.packaging.names import check_storage_uri, kubernetes_name
from exporter.packaging.resources import measure_memory
from exporter.packaging.yaml import to_yaml

if TYPE_CHECKING:
    from exporter.packaging.kubernetes import Object
    from exporter.packaging.options import PackageOptions
    from runtime.bundle.keys import PublicKey
    from runtime.bundle.reading import BundleFiles

_RUNTIME: Final = "onnxferry"
_KEY: Final = "onnxferry-key"
_MODEL_FORMAT: Final = "onnxferry"
_DRAIN_S: Final = 20  # Kubernetes ends the pod after 30; Knative lets nobody change that
_MODELS: Final = "/mnt/models"  # where KServe puts the files of storageUri


def kserve_files(bundle: BundleFiles, options: PackageOptions) -> dict[str, bytes]:
    """Write a ServingRuntime and an InferenceService that takes the bundle from a storage URI."""
    uri = check_storage_uri(options.storage_uri)
    image = options.image_for(bundle.manifest.model)
    files = {
        "servingruntime.yaml": to_yaml(
            _serving_runtime(image, bundle.signer), comment="One for all bundles of a namespace."
        ),
        "inferenceservice.yaml": to_yaml(_inference_service(bundle, uri)),
    }
    if bundle.signer:
        files["configmap.yaml"] = to_yaml(
            key_config_map(bundle.signer, {"name": _KEY}),
            comment="The public key that must have signed all bundles of the namespace.",
        )
    return files


def _serving_runtime(image: str, key: PublicKey | None) -> Object:
    listen = ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - the pod's own interfaces
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": {"name": _RUNTIME},
        "spec": {
            "annotations": {
                "prometheus.kserve.io/port": str(PORT),
                "prometheus.kserve.io/path": "/metrics",
            },
            "supportedModelFormats": [
                {"name": _MODEL_FORMAT, "version": "1", "autoSelect": True, "priority": 1}
            ],
            "protocolVersions": ["v2"],
            "multiModel": False,
            "containers": [
                {
                    "name": "kserve-container",
                    "image": image,
                    "command": ["runtime", "serve"],
                    "args": [
                        *("--bundle", f"{{{{.Name}}}}={_MODELS}"),
                        *listen,
                        *("--drain-timeout", str(_DRAIN_S)),
                        *key_arguments(key),
                    ],
                    "ports": [{"containerPort": PORT, "protocol": "TCP"}],
                    "readinessProbe": readiness_probe(),
                    "securityContext": container_security(),
                    **({"volumeMounts": key_mounts(key)} if key else {}),
                }
            ],
            **({"volumes": key_volumes(key, _KEY)} if key else {}),
        },
    }


def _inference_service(bundle: BundleFiles, uri: str) -> Object:
    model = bundle.manifest.model
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": kubernetes_name(model.name),
            "labels": {"app.kubernetes.io/version": model.version},
            "annotations": {"onnxferry-model": model.name},
        },
        "spec": {
            "predictor": {
                "minReplicas": 1,
                "model": {
                    "modelFormat": {"name": _MODEL_FORMAT, "version": "1"},
                    "runtime": _RUNTIME,
                    "protocolVersion": "v2",
                    "storageUri": uri,
                    "resources": container_resources(measure_memory(bundle)),
                },
            }
        },
    }
