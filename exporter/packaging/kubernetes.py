"""Kubernetes: Deployment, Service, HorizontalPodAutoscaler, PodDisruptionBudget, NetworkPolicy.

The pod needs no privilege: any user, a read-only root, no capability, no service account. It is
drained before it ends: taken out of the Service (preStop), then ``runtime serve`` answers what is
pending (--drain-timeout), all within terminationGracePeriodSeconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from exporter.packaging.keys import key_arguments, key_config_map, key_mounts, key_volumes
from exporter.packaging.names import kubernetes_name
from exporter.packaging.resources import measure_memory
from exporter.packaging.yaml import to_yaml

if TYPE_CHECKING:
    from exporter.packaging.options import PackageOptions
    from exporter.packaging.resources import Memory
    from exporter.packaging.yaml import Node
    from runtime.bundle.keys import PublicKey
    from runtime.bundle.reading import BundleFiles

BUNDLE_PATH: Final = "/bundle"  # in the image of --to image
PORT: Final = 8080
LIVE: Final = "/v2/health/live"
READY: Final = "/v2/health/ready"
DRAIN_S: Final = 30
_PRE_STOP_S: Final = 5  # until every proxy has heard that the pod is going
_SPARE_S: Final = 10
_MIN_REPLICAS: Final = 2
_MAX_REPLICAS: Final = 10
_CPU_PERCENT: Final = 70

Object = dict[str, "Node"]


def kubernetes_files(bundle: BundleFiles, options: PackageOptions) -> dict[str, bytes]:
    """Write the objects that serve a bundle, a file each, for ``kubectl apply -f``."""
    model = bundle.manifest.model
    image = options.image_for(model)
    name = kubernetes_name(model.name)
    labels: Object = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/version": model.version,
        "app.kubernetes.io/managed-by": "onnxferry",
    }
    selector: Object = {"app.kubernetes.io/name": name}
    metadata: Object = {
        "name": name,
        "labels": labels,
        "annotations": {"onnxferry-model": model.name},
    }
    key_name, memory = f"{name}-key", measure_memory(bundle)
    container = _container(image, memory, bundle.signer)
    volumes: list[Object] = [
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        *key_volumes(bundle.signer, key_name),
    ]
    objects = {
        "deployment": _deployment(metadata, selector, container, volumes),
        "service": _service(metadata, selector),
        "horizontalpodautoscaler": _autoscaler(metadata),
        "poddisruptionbudget": _disruption_budget(metadata, selector),
        "networkpolicy": _network_policy(metadata, selector),
    }
    if bundle.signer:
        objects["configmap"] = key_config_map(bundle.signer, {**metadata, "name": key_name})
    return {
        f"{kind}.yaml": to_yaml(content, comment=_COMMENTS.get(kind, ""))
        for kind, content in objects.items()
    }


_COMMENTS: Final = {
    "deployment": "No replicas: the HorizontalPodAutoscaler sets them.\n"
    "Memory was measured with this model. The CPU limit sets the number of threads.",
    "configmap": "The public key that must have signed the bundle.",
    "networkpolicy": "Admits pods of this namespace. Add the namespace of your gateway and of\n"
    "Prometheus under ingress.from. Nothing needs to be reached from the pod.",
}


def container_security() -> Object:
    """Return the security context of a container that needs nothing."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,  # the image has a user; OpenShift chooses another
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_resources(memory: Memory) -> Object:
    """Return requests and limits of a container with one thread."""
    return {
        "requests": {"cpu": "1", "memory": f"{memory.request}Mi"},
        "limits": {"cpu": "1", "memory": f"{memory.limit}Mi"},
    }


def readiness_probe() -> Object:
    """Return the probe that puts a pod into service."""
    return {**_http_get(READY), "periodSeconds": 5, "failureThreshold": 1}


def _http_get(path: str) -> Object:
    return {"httpGet": {"path": path, "port": PORT}, "timeoutSeconds": 2}


def _deployment(
    metadata: Object, selector: Object, container: Object, volumes: list[Object]
) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "selector": {"matchLabels": selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": {
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": _PRE_STOP_S + DRAIN_S + _SPARE_S,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "topologySpreadConstraints": [
                        _spread("kubernetes.io/hostname", selector),
                        _spread("topology.kubernetes.io/zone", selector),
                    ],
                    "containers": [container],
                    "volumes": volumes,
                },
            },
        },
    }


def _container(image: str, memory: Memory, key: PublicKey | None) -> Object:
    listen = ["--host", "0.0.0.0", "--port", str(PORT)]  # noqa: S104 - the pod's own interfaces
    return {
        "name": "server",
        "image": image,
        "command": ["runtime", "serve"],
        "args": [
            *("--bundle", BUNDLE_PATH),
            *listen,
            *("--drain-timeout", str(DRAIN_S)),
            *key_arguments(key),
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {**_http_get(LIVE), "periodSeconds": 1, "failureThreshold": 60},
        "readinessProbe": readiness_probe(),
        "livenessProbe": {**_http_get(LIVE), "periodSeconds": 10, "failureThreshold": 3},
        "lifecycle": {"preStop": {"sleep": {"seconds": _PRE_STOP_S}}},
        "resources": container_resources(memory),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - for --workers
            *key_mounts(key),
        ],
    }


def _spread(key: str, selector: Object) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
        "matchLabelKeys": ["pod-template-hash"],
    }


def _service(metadata: Object, selector: Object) -> Object:
    port: Object = {"name": "http", "port": 80, "targetPort": "http", "appProtocol": "http"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "ClusterIP", "selector": selector, "ports": [port]},
    }


def _autoscaler(metadata: Object) -> Object:
    target: Object = {"type": "Utilization", "averageUtilization": _CPU_PERCENT}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": metadata["name"],
            },
            "minReplicas": _MIN_REPLICAS,
            "maxReplicas": _MAX_REPLICAS,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def _disruption_budget(metadata: Object, selector: Object) -> Object:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector},
        },
    }


def _network_policy(metadata: Object, selector: Object) -> Object:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [
                {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": PORT}]}
            ],
        },
    }
