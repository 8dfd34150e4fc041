"""Write YAML: block style, every string that could be read as something else in quotes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

Node = str | int | bool | Mapping[str, "Node"] | Sequence["Node"]

_PLAIN: Final = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
_LINES: Final = re.compile(r"(?:[!-~][ -~]*\n)+")  # read and written as they are
# What YAML 1.1, which Kubernetes reads, takes for a boolean or null.
_WORDS: Final = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def to_yaml(*documents: Mapping[str, Node], comment: str = "") -> bytes:
    """Serialize documents, reproducible to the byte; ``comment`` stands above them."""
    head = "".join(f"# {line}\n" for line in comment.splitlines())
    return (head + "---\n".join("\n".join(_lines(one)) + "\n" for one in documents)).encode()


def _lines(node: Node) -> list[str]:
    """Write a collection that is not empty, a line each, without indentation."""
    if isinstance(node, Mapping):
        return [line for key, value in node.items() for line in _entry(f"{_scalar(key)}:", value)]
    assert isinstance(node, Sequence)  # noqa: S101 - for the type checker
    found = []
    for value in node:
        first, *rest = _lines(value) if _is_block(value) else [_scalar(value)]
        found += [f"- {first}", *(f"  {line}" for line in rest)]
    return found


def _entry(head: str, value: Node) -> list[str]:
    if isinstance(value, str) and _LINES.fullmatch(value):
        return [f"{head} |", *(f"  {line}" for line in value.splitlines())]
    if not _is_block(value):
        return [f"{head} {_scalar(value)}"]
    return [head, *(f"  {line}" for line in _lines(value))]


def _is_block(node: Node) -> bool:
    return not isinstance(node, str | int) and bool(node)


def _scalar(node: Node) -> str:
    if isinstance(node, bool):
        return "true" if node else "false"
    if isinstance(node, int):
        return str(node)
    if not isinstance(node, str):
        return "{}" if isinstance(node, Mapping) else "[]"
    if _PLAIN.fullmatch(node) and node.lower() not in _WORDS:
        return node
    return quote(node)


def quote(text: str) -> str:
    """Write a text in double quotes, in ASCII; Protocol Buffers' text format reads it, too."""
    escaped = (f"\\{char}" if char in '"\\' else _escape(char) for char in text)
    return f'"{"".join(escaped)}"'


def _escape(char: str) -> str:
    return char if " " <= char <= "~" else f"\\U{ord(char):08X}"
