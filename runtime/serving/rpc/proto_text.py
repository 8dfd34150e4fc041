"""Read our ``.proto`` file, so that no compiler and no generated code is needed.

Generated code is bound to the release of protobuf that wrote it; a descriptor is not. In: text of
the small part of the language that the file uses: messages in messages, ``repeated``, ``oneof``,
``map``, one service. Out: a ``FileDescriptorProto``. What else stands there is a ``ValueError``:
a bug of ours. Language: protobuf.dev/reference/protobuf/proto3-spec.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(r'//[^\n]*|"[^"]*"|[\w.]+|[^\s\w]')
_SCALARS: Final = frozenset(
    ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")
)


def parse_proto(text: str, name: str) -> FileDescriptorProto:
    """Read a file.

    Args:
        text: its content.
        name: its name.

    Returns:
        Its messages and services.

    Raises:
        ValueError: at a word that is not understood.
    """
    tokens = _Tokens(text)
    file = FileDescriptorProto(name=name, syntax="proto3")
    for word in tokens:
        if word == "syntax":
            tokens.expect("=", '"proto3"', ";")
        elif word == "package":
            file.package = next(tokens)
            tokens.expect(";")
        elif word == "message":
            _read_message(tokens, file.message_type.add())
        elif word == "service":
            _read_service(tokens, file)
        else:
            raise ValueError(f"{name}: {word!r} is not understood")
    return file


class _Tokens:
    """The words of a file, without its comments."""

    def __init__(self, text: str) -> None:
        words = (found[0] for found in _TOKEN.finditer(text))
        self._words: Iterator[str] = (word for word in words if not word.startswith("//"))

    def __iter__(self) -> Iterator[str]:
        return self._words

    def __next__(self) -> str:
        return next(self._words)

    def expect(self, *words: str) -> None:
        for word in words:
            if (found := next(self)) != word:
                raise ValueError(f"{found!r} stands where {word!r} should")

    def until(self, end: str) -> Iterator[str]:
        return iter(lambda: next(self), end)


def _read_message(tokens: _Tokens, message: DescriptorProto) -> None:
    message.name = next(tokens)
    tokens.expect("{")
    for word in tokens.until("}"):
        if word == "message":
            _read_message(tokens, message.nested_type.add())
        elif word == "oneof":
            message.oneof_decl.add(name=next(tokens))
            tokens.expect("{")
            for kind in tokens.until("}"):
                field = _read_field(tokens, message, kind)
                field.oneof_index = len(message.oneof_decl) - 1
        elif word == "map":
            _read_map(tokens, message)
        elif word == "repeated":
            field = _read_field(tokens, message, next(tokens))
            field.label = FieldDescriptorProto.LABEL_REPEATED
        else:
            _read_field(tokens, message, word)


def _read_field(tokens: _Tokens, message: DescriptorProto, kind: str) -> FieldDescriptorProto:
    field = message.field.add(name=next(tokens), label=FieldDescriptorProto.LABEL_OPTIONAL)
    tokens.expect("=")
    field.number = int(next(tokens))
    tokens.expect(";")
    _set_kind(field, kind)
    return field


def _set_kind(field: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    else:  # a name without a dot before it is looked up from the inside outwards
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, kind


def _read_map(tokens: _Tokens, message: DescriptorProto) -> None:
    """A map is a repeated message of key and value."""
    tokens.expect("<", "string", ",")
    kind = next(tokens)
    tokens.expect(">")
    name = next(tokens)
    tokens.expect("=")
    number = int(next(tokens))
    tokens.expect(";")
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    optional = FieldDescriptorProto.LABEL_OPTIONAL
    key = entry.field.add(name="key", number=1, label=optional)
    key.type = FieldDescriptorProto.TYPE_STRING
    _set_kind(entry.field.add(name="value", number=2, label=optional), kind)
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_REPEATED)
    _set_kind(field, entry.name)


def _read_service(tokens: _Tokens, file: FileDescriptorProto) -> None:
    service = file.service.add(name=next(tokens))
    tokens.expect("{")
    for word in tokens.until("}"):
        if word != "rpc":
            raise ValueError(f"{word!r} stands where 'rpc' should")
        method = service.method.add(name=next(tokens))
        taken, method.client_streaming = _read_side(tokens)
        tokens.expect("returns")
        given, method.server_streaming = _read_side(tokens)
        method.input_type, method.output_type = taken, given
        tokens.expect(";")


def _read_side(tokens: _Tokens) -> tuple[str, bool]:
    tokens.expect("(")
    kind = next(tokens)
    streams = kind == "stream"
    if streams:
        kind = next(tokens)
    tokens.expect(")")
    return kind, streams
