"""The protocol's messages, loaded from the descriptor set that ``make protos`` compiles.

Generated modules would require the protobuf release they were generated with or a newer one; a
descriptor set works with all of them. The pool is our own: a client library in the same process
may register the same names.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

if TYPE_CHECKING:
    from google.protobuf.descriptor import ServiceDescriptor

SERVICE: Final = "inference.GRPCInferenceService"
DESCRIPTORS: Final = "open_inference.binpb"

Message = Any  # classes made from a descriptor have no static type
MessageClass = Any


@cache
def service() -> ServiceDescriptor:
    """Load the service and, through it, all messages."""
    content = files("runtime.serving.grpc").joinpath(DESCRIPTORS).read_bytes()
    pool = DescriptorPool()
    for file in FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(SERVICE)


@cache
def message(name: str) -> MessageClass:
    """Return the class of a message, for example ``ModelInferRequest``."""
    return GetMessageClass(service().file.message_types_by_name[name])
