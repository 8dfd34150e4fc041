"""Parse a JSON record exactly: where msgspec fails, or ignores duplicate keys."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined] # without a stub
from typing import TYPE_CHECKING, Any, Final

import msgspec

from runtime.tables.base import RowIssue
from runtime.tables.cells import UNDECODABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

# Numbers and NaN stay text, so that any length is accepted and none is rounded.
_DECODER: Any = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEY = re.compile(r'[ \t,]*("(?:[^"\\]++|\\.)*+")[ \t]*:[ \t]*')


def parse_members(line: bytes) -> dict[str, list[str]] | RowIssue:
    """Return the raw JSON of a record's values by key, several for a duplicate key."""
    text = line.decode(errors="surrogateescape")
    members: dict[str, list[str]] = {}
    try:
        if not isinstance(_DECODER.decode(text), dict):
            return RowIssue("not a JSON object")
        at = text.index("{") + 1
        while key := _KEY.match(text, at):
            _, at = _DECODER.scan_once(text, key.end())
            members.setdefault(scanstring(key[1], 1)[0], []).append(text[key.end() : at])
    except RecursionError:
        return RowIssue("nested too deep")
    except json.JSONDecodeError as exc:
        position = f"at character {exc.pos + 1}"
        if "\udc80" <= text[exc.pos : exc.pos + 1] <= "\udcff":
            return RowIssue(f"{UNDECODABLE} ({position})")
        reason = exc.msg[:1].lower() + exc.msg[1:].removesuffix(" at").removesuffix(":")
        return RowIssue(f"invalid JSON ({reason}, {position})")
    return members


def encode_text(text: str) -> bytes:
    """Encode a JSON string; bytes kept by ``surrogateescape`` are written as read."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        pass
    try:
        return json.dumps(text, ensure_ascii=False).encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate can only be escaped
        return json.dumps(text).encode()


def decode_text(raw: bytes) -> bytes:
    """Decode a JSON string to UTF-8; a lone surrogate becomes bytes that do not decode."""
    content: str = scanstring(raw.decode(errors="surrogateescape"), 1)[0]
    try:
        return content.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return content.encode(errors="surrogatepass")


def may_occur_more(text: bytes, key: str, count: int) -> bool:
    """Return whether a key may occur more than ``count`` times, nested values included."""
    spellings, escape = _spell(key)
    return sum(map(text.count, spellings)) > count or _has_escape(text, spellings, escape)


def find_duplicates(lines: Sequence[bytes], key: str) -> list[int]:
    """Return the indices of records that may have a key twice, nested values excluded."""
    usual, *others = _spell(key)[0]
    candidates = [
        index
        for index, line in enumerate(lines)
        if line.count(usual) > 1 or others or b"\\" in line
    ]
    return [index for index in candidates if _may_be_duplicate(lines[index], key)]


def _may_be_duplicate(line: bytes, key: str) -> bool:
    if not may_occur_more(line, key, 1):
        return False
    spellings, escape = _spell(key)
    try:
        values = b"\n".join(MEMBERS.decode(line).values())
    except DECODE_ERRORS:
        return True
    count = sum(line.count(each) - values.count(each) for each in spellings)
    return count > 1 or _has_escape(line, spellings, escape)


def _has_escape(text: bytes, spellings: tuple[bytes, ...], escape: re.Pattern[bytes]) -> bool:
    if b"\\" not in text:
        return False
    for spelling in spellings:
        text = text.replace(spelling, b"") if b"\\" in spelling else text
    return escape.search(text) is not None


@lru_cache(maxsize=1024)
def _spell(key: str) -> tuple[tuple[bytes, ...], re.Pattern[bytes]]:
    r"""Return the usual spellings of a key, and a pattern of the escapes in all others.

    ``"pr\u0069ce"`` is ``"price"``: text without the usual spellings of a key and without an escape
    of one of its characters does not contain the key.
    """
    units = key.encode("utf-16-be", "surrogatepass")
    codes = {units[at : at + 2].hex() for at in range(0, len(units), 2)}
    escapes = [rf"u(?i:{'|'.join(sorted(codes))})"] if codes else ["(?!)"]
    escapes += [r'["\\/bfnrt]'] if re.search(r'[\x00-\x1f"\\/]', key) else []
    pattern = re.compile(rf"\\(?:{'|'.join(escapes)})".encode())
    return tuple({encode_text(key), json.dumps(key).encode()}), pattern
