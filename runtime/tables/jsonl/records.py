"""Read one JSON record exactly: what msgspec refuses, or cannot tell (doubled keys)."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from json.decoder import scanstring  # type: ignore[attr-defined] # public, yet without a stub
from typing import Any, Final

import msgspec

from runtime.tables.base import RowIssue
from runtime.tables.cells import UNDECODABLE

# Numbers and NaN stay text: none is too long, and none is rounded.
_DECODER: Any = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)
MEMBERS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
REFUSED: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEY = re.compile(r'[ \t,]*("(?:[^"\\]++|\\.)*+")[ \t]*:[ \t]*')


def read_members(line: bytes) -> dict[str, list[str]] | RowIssue:
    """Read the JSON text of a record's values by key, all of them where a key is doubled."""
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
        place = f"at character {exc.pos + 1}"
        if "\udc80" <= text[exc.pos : exc.pos + 1] <= "\udcff":
            return RowIssue(f"{UNDECODABLE} ({place})")
        reason = exc.msg[:1].lower() + exc.msg[1:].removesuffix(" at").removesuffix(":")
        return RowIssue(f"invalid JSON ({reason}, {place})")
    return members


def encode_text(text: str) -> bytes:
    """Write a JSON string; bytes kept by ``surrogateescape`` are written as they were read."""
    try:
        return msgspec.json.encode(text)
    except UnicodeEncodeError:
        pass
    try:
        return json.dumps(text, ensure_ascii=False).encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate can only be escaped
        return json.dumps(text).encode()


def decode_text(token: bytes) -> bytes:
    """Read a JSON string as UTF-8; a lone surrogate becomes bytes that do not decode."""
    content: str = scanstring(token.decode(errors="surrogateescape"), 1)[0]
    try:
        return content.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return content.encode(errors="surrogatepass")


def may_have_more(text: bytes, key: str, count: int) -> bool:
    """Check whether JSON text may hold a key in more than ``count`` places, values included."""
    spellings, escape = _spell(key)
    return sum(map(text.count, spellings)) > count or _has_escape(text, spellings, escape)


def may_be_doubled(line: bytes, key: str) -> bool:
    """Check whether a record may have a key twice, places inside its values left out."""
    if not may_have_more(line, key, 1):
        return False
    spellings, escape = _spell(key)
    try:
        values = b"\n".join(MEMBERS.decode(line).values())
    except REFUSED:
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
    r"""Return the usual spellings of a key, and a pattern of escapes that others need.

    ``"pr\u0069ce"`` is ``"price"``: text that has neither the usual spellings of a key nor an
    escape of one of its characters lacks the key.
    """
    units = key.encode("utf-16-be", "surrogatepass")
    codes = {units[at : at + 2].hex() for at in range(0, len(units), 2)}
    escapes = [rf"u(?i:{'|'.join(sorted(codes))})"] if codes else ["(?!)"]
    escapes += [r'["\\/bfnrt]'] if re.search(r'[\x00-\x1f"\\/]', key) else []
    pattern = re.compile(rf"\\(?:{'|'.join(escapes)})".encode())
    return tuple({encode_text(key), json.dumps(key).encode()}), pattern
