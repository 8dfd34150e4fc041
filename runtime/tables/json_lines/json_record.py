"""Read one JSON record with care: the members as they are written, or why there are none.

This is the slow way, for records that the quick one refuses or cannot be sure of. It knows what
the quick one hides: where a record breaks, and keys that stand in it twice. Texts keep bytes that
are no UTF-8 as Python's ``surrogateescape`` does.
"""

from __future__ import annotations

import json
import re
from functools import cache
from json.decoder import scanstring  # type: ignore[attr-defined] # public, yet without a stub
from typing import TYPE_CHECKING, Any

from runtime.tables.base import RowIssue
from runtime.tables.cells import UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_AN_OBJECT = "not a JSON object"
INVALID = "invalid JSON"
DEEPEST = 500  # levels; where a parser gives up must not depend on which one looks
TOO_DEEP = f"nested deeper than {DEEPEST} levels"

_BLANKS = re.compile(r"[ \t\n\r]*")
_FIRST_UNDECODABLE, _LAST_UNDECODABLE = "\udc80", "\udcff"
_BRACKETS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)  # read once, in any text

Members = dict[str, list[str]]


def read_members(line: bytes) -> Members | RowIssue:
    """Read a record's members.

    Args:
        line: the record, line end excluded.

    Returns:
        The JSON text of each value by key, all of them where a key occurs more than once; or
        why the line is no JSON object.
    """
    if is_too_deep(line):
        return RowIssue(TOO_DEEP)
    text = line.decode(errors="surrogateescape")
    try:
        at = _skip(text, 0)
        if text[at : at + 1] == "{":
            members, at = _read_object(text, at)
        else:
            members, at = None, _value_end(text, at)
        _refuse_more(text, at)
    except json.JSONDecodeError as broken:
        return _describe(text, broken)
    except RecursionError:  # for callers who are deep themselves
        return RowIssue(TOO_DEEP)
    return RowIssue(NOT_AN_OBJECT) if members is None else members


def unescape(token: bytes) -> bytes:
    """Give the content of a string as it is written, quotes included, in UTF-8.

    Lone surrogates, which no text holds, come out as bytes that do not decode.
    """
    content: str = scanstring(token.decode(errors="surrogateescape"), 1)[0]
    try:
        return content.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return content.encode(errors="surrogatepass")


def is_too_deep(line: bytes) -> bool:
    """Say whether brackets are nested deeper than ``DEEPEST`` levels in a record."""
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return False
    depth = 0
    for found in _BRACKETS.finditer(line):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(found[0], 0)
        if depth > DEEPEST:
            return True
    return False


def _read_object(text: str, at: int) -> tuple[Members, int]:
    """Read the object that begins at ``at``; return its members and where it ends."""
    members: Members = {}
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return members, at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("no key in quotes", text, at)
        key, at = _string(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("no colon after a key", text, at)
        start = _skip(text, at + 1)
        end = _value_end(text, start)
        members.setdefault(key, []).append(text[start:end])
        at = _skip(text, end)
        if text[at : at + 1] == "}":
            return members, at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("no comma between members", text, at)
        at = _skip(text, at + 1)


def _string(text: str, at: int) -> tuple[str, int]:
    content, end = scanstring(text, at + 1)
    return content, end


def _value_end(text: str, at: int) -> int:
    """Find where the value ends that begins at ``at``."""
    try:
        _, end = _scanner()(text, at)
    except StopIteration as exc:
        raise json.JSONDecodeError("no value", text, int(exc.value)) from exc
    return end


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _refuse_more(text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise json.JSONDecodeError("more after its end", text, at)


def _describe(text: str, broken: json.JSONDecodeError) -> RowIssue:
    found = text[broken.pos : broken.pos + 1]
    if _FIRST_UNDECODABLE <= found <= _LAST_UNDECODABLE:
        return RowIssue(f"{UNDECODABLE} (at character {broken.pos + 1})")
    what = broken.msg[:1].lower() + broken.msg[1:].removesuffix(" at").removesuffix(":")
    return RowIssue(f"{INVALID} ({what}, at character {broken.pos + 1})")


@cache
def _scanner() -> Callable[[str, int], tuple[Any, int]]:
    """Scan values; numbers stay text, so that none is too long to be read."""
    decoder: Any = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
    scan: Callable[[str, int], tuple[Any, int]] = decoder.scan_once  # no stub knows it
    return scan
