"""The protocol's messages as classes, made from ``open_inference.proto`` when they are needed.

They live in a pool of their own: a client library in the same process may bring the same names.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from runtime.serving.rpc.proto_text import parse_proto

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

NAME: Final = "open_inference.proto"
_SERVICE: Final = "inference.GRPCInferenceService"

Message = Any  # classes that are made from a descriptor have no static type
MessageClass = Any


@cache
def service() -> ServiceDescriptor:
    """Read the protocol, once.

    Returns:
        The service and, through it, every message.
    """
    text = files("runtime.serving.rpc").joinpath(NAME).read_text(encoding="utf-8")
    pool = DescriptorPool()
    pool.AddSerializedFile(parse_proto(text, NAME).SerializeToString())
    return pool.FindServiceByName(_SERVICE)


@cache
def message(name: str) -> MessageClass:
    """Give the class of a message.

    Args:
        name: as in the file, for example ``ModelInferRequest``.

    Returns:
        The class.
    """
    return GetMessageClass(service().file.message_types_by_name[name])
