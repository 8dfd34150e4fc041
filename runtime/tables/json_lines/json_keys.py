r"""How a key may be written in JSON text, to find records in which it stands twice.

A parser that is quick keeps the last of two members with one key and says nothing. A key is
written plainly in quotes, or with escapes (``"pr\u0069ce"`` is ``price``); counting the plain
spellings and looking for escapes of any of its characters misses none of its occurrences. What is
counted too often (a nested object's key, an escape in another text) only costs a closer look.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.compute as pc

from runtime.tables.arrays import number_values, split_bytes
from runtime.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from runtime.tables.json_lines.lines import Positions

_QUOTE, _COLON, _SPACE, _TAB = b'": \t'


class Spelling(Value, frozen=True):
    """How a key is written.

    Attributes:
        plain: in quotes, as most programs write it, without and with non-ASCII escaped.
        escapes: pattern of any escape of one of its characters.
    """

    plain: tuple[bytes, ...]
    escapes: bytes


def encode_text(text: str) -> bytes:
    """Write one text as a JSON string; what ``surrogateescape`` kept comes out as it was read."""
    written = json.dumps(text, ensure_ascii=False)
    try:
        return written.encode(errors="surrogateescape")
    except UnicodeEncodeError:  # a lone surrogate exists in JSON as an escape alone
        return json.dumps(text).encode()


@lru_cache(maxsize=1024)
def spell(key: str) -> Spelling:
    """Work out how a key may be written."""
    raw = encode_text(key)
    escaped = json.dumps(key)
    upper = re.sub(r"\\u[0-9a-f]{4}", lambda found: "\\u" + found[0][2:].upper(), escaped)
    units = np.frombuffer(key.encode("utf-16-le", errors="surrogatepass"), dtype="<u2")
    codes = "|".join(sorted({f"{unit:04x}" for unit in units.tolist()}))
    escapes = rf"\\(u(?i:{codes})|[bfnrt/\"\\])" if _has_short_escapes(key) else rf"\\u(?i:{codes})"
    plain = dict.fromkeys((raw, escaped.encode(), upper.encode()))
    return Spelling(tuple(plain), escapes.encode())


def may_have(data: bytes, key: str) -> bool:
    """Say whether a key may stand in a block's text."""
    spelling = spell(key)
    return any(plain in data for plain in spelling.plain) or _has_odd_escapes(data, spelling)


def find_repeats(data: bytes, bounds: Positions, keys: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Find records that may have one of the keys twice.

    Args:
        data: the records' text.
        bounds: ``(records + 1,)`` int64, where each record begins and the last one ends.
        keys: to look for.

    Returns:
        ``(records,)`` bool.
    """
    text = np.frombuffer(data, dtype=np.uint8)
    quoted = text == _QUOTE
    found = np.zeros(len(bounds) - 1, dtype=np.bool_)
    for key in keys:
        spelling = spell(key)
        at = np.concatenate([_find_key(text, quoted, plain) for plain in spelling.plain])
        owners = np.searchsorted(bounds, at, side="right") - 1
        found |= np.bincount(owners, minlength=len(found)) > 1
        if _has_odd_escapes(data, spelling):
            rest = split_bytes(data, bounds.astype(np.int32))
            for plain in spelling.plain:
                rest = pc.replace_substring(rest, plain, b"")
            found |= number_values(pc.count_substring_regex(rest, spelling.escapes)) > 0
    return found


def is_told_apart(line: bytes, values: bytes, keys: Sequence[str]) -> bool:
    """Say whether other places of a key in a record are all inside values, so that one is left.

    Args:
        line: the record.
        values: of its members, those that a parser kept.
        keys: to look for.

    Returns:
        False when a key may stand there twice.
    """
    for spelling in map(spell, keys):
        if _has_odd_escapes(line, spelling):
            return False
        places = 0
        for plain in spelling.plain:
            places += line.count(plain) - values.count(plain)
        if places > 1:
            return False
    return True


def _find_key(
    text: npt.NDArray[np.uint8], quoted: npt.NDArray[np.bool_], plain: bytes
) -> Positions:
    """Find where a spelling stands as a key, that is before a colon, blanks between."""
    at: Positions = np.flatnonzero(quoted[:-1] & (text[1:] == plain[1]))
    at = at[at < len(text) - len(plain)]
    for offset, byte in enumerate(plain[2:], 2):
        at = at[text[at + offset] == byte]
    after = text[at + len(plain)]
    found: Positions = at[(after == _COLON) | (after == _SPACE) | (after == _TAB)]
    return found


def _has_odd_escapes(data: bytes, spelling: Spelling) -> bool:
    if b"\\" not in data:
        return False
    for plain in spelling.plain:
        if b"\\" in plain:
            data = data.replace(plain, b"")
    return re.search(spelling.escapes, data) is not None


def _has_short_escapes(key: str) -> bool:
    return any(character < " " or character in '/"\\' for character in key)
