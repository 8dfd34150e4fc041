"""The public key with which a package demands signed bundles: in a ConfigMap, or in the image.

Pods take it from the ConfigMap, which is none of the image: who may change the one may not change
the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exporter.packaging.yaml import Node
    from runtime.bundle.keys import PublicKey

KEY_FILE: Final = "public.pem"
KEY_FOLDER: Final = "/etc/onnxferry"  # in the image
_MOUNTED: Final = "/etc/onnxferry-key"  # in pods, beside the one of the image
_VOLUME: Final = "key"

Object = dict[str, "Node"]


def key_arguments(key: PublicKey | None) -> tuple[str, ...]:
    """Return the options of ``runtime serve`` that demand a key."""
    return () if key is None else ("--key", f"{_MOUNTED}/{KEY_FILE}")


def key_mounts(key: PublicKey | None) -> list[Object]:
    """Return the mounts of a container."""
    return [] if key is None else [{"name": _VOLUME, "mountPath": _MOUNTED, "readOnly": True}]


def key_volumes(key: PublicKey | None, name: str) -> list[Object]:
    """Return the volumes of a pod, from the ConfigMap with the name."""
    return [] if key is None else [{"name": _VOLUME, "configMap": {"name": name}}]


def key_config_map(key: PublicKey, metadata: Object) -> Object:
    """Return the ConfigMap that holds a key."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {KEY_FILE: key.pem.decode("ascii")},
    }
