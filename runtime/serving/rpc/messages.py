"""The messages of a service as classes, made from its ``.proto`` file when they are needed.

They live in a pool of their own: a client library in the same process may bring the same names.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from runtime.serving.rpc.proto_text import parse_proto

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"
_FILES: Final = {INFERENCE: "open_inference.proto", HEALTH: "health.proto"}

Message = Any  # classes that are made from a descriptor have no static type
MessageClass = Any


@cache
def service(name: str = INFERENCE) -> ServiceDescriptor:
    """Read a protocol, once.

    Args:
        name: of the service.

    Returns:
        The service and, through it, every message.
    """
    file = _FILES[name]
    text = files("runtime.serving.rpc").joinpath(file).read_text(encoding="utf-8")
    pool = DescriptorPool()
    pool.AddSerializedFile(parse_proto(text, file).SerializeToString())
    return pool.FindServiceByName(name)


@cache
def message(name: str, of: str = INFERENCE) -> MessageClass:
    """Give the class of a message.

    Args:
        name: as in the file, for example ``ModelInferRequest``.
        of: the service whose file it is.

    Returns:
        The class.
    """
    return GetMessageClass(service(of).file.message_types_by_name[name])


def address(name: str, version: str, what: str = "") -> str:
    """Say where HTTP has what a message asks for.

    Args:
        name: of a model.
        version: of it; empty for the one there is.
        what: is asked of it; empty for what it is.

    Returns:
        A target.
    """
    parts = ["", "v2", "models", quote(name, safe="")]
    if version:
        parts += ["versions", quote(version, safe="")]
    return "/".join([*parts, what] if what else parts)
