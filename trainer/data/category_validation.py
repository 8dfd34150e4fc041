"""Refuse texts that are not names of categories.

Quantities in a format that is not read would lose their order, identifiers teach nothing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from runtime.errors import SchemaError
from runtime.printable import truncate
from runtime.surfaces import advise, option
from runtime.tables.arrays import bool_scalar, bool_values
from runtime.tables.base import RowIssue
from runtime.tables.cells import MISSING_WORDS, number_hint
from runtime.tables.folders import open_tables
from runtime.tables.text import cell_texts
from trainer.data.labels import find_nans
from trainer.data.semantic_types import IDENTIFIERS, OTHER_DATES, READABLE, detect_semantic_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trainer.data.faults import Faults
    from trainer.data.profile import TableProfile
    from trainer.data.semantic_types import SemanticType
    from trainer.data.source import TableSource

_MAX_COLUMNS = 10  # described in a message
_MAX_NAMES = 20  # of columns in an option
_MAX_TEXTS = 5  # named in a message
_MAX_CHARACTERS = 40  # of a text


def check_categories(texts: Mapping[str, set[bytes]], source: TableSource, faults: Faults) -> None:
    """Refuse columns whose texts are mostly numbers, dates or the like, not names.

    ``texts`` are the distinct texts of columns that nobody declared to be categories, by name.
    """
    decimal = source.reading.decimal
    found = {
        name: semantic_type
        for name, each in texts.items()
        if (semantic_type := detect_semantic_type(each - {b""}, decimal))
    }
    if not found:
        return
    shown = list(found)[:_MAX_COLUMNS]
    samples = {name: _sample(found[name]) for name in shown}
    places = _find_places(source, samples)
    more = len(found) - len(shown)
    column = "1 column looks" if len(found) == 1 else f"{len(found)} columns look"
    lines = [
        f"{source.data}: {column} like quantities, dates or identifiers, not like categories",
        *(f"  {_describe(name, found[name], source, places[name])}" for name in shown),
        *([f"  … and {more} more"] if more else []),
        *_advise_all({name: texts[name] for name in found}, source),
    ]
    faults.add(SchemaError("\n".join(lines)), found)


def _advise_all(texts: Mapping[str, set[bytes]], source: TableSource) -> tuple[str, str]:
    """Name the options that declare all columns to be categories, and that leave them out."""
    names, most = list(texts), max(map(len, texts.values()))
    are_many = most > source.max_categories and source.rare == "error"
    joined = f" {option('rare', 'other')}" if are_many else ""
    if len(names) > _MAX_NAMES:
        return (
            f"if they are categories, name all of them with {option('categories')}{joined}",
            f"to leave them out, name the columns to use with {option('features')}",
        )
    exclusion = advise("exclude", [*source.exclude, *names])
    if source.features is not None:
        exclusion = f"name only others with {option('features')}"
    declared = option("categories", [*source.categories, *names])
    return (
        f"if they are categories, declare them with {declared}{joined}",
        f"to leave them out, {exclusion}",
    )


def check_label(profile: TableProfile, source: TableSource, faults: Faults) -> frozenset[str]:
    """Refuse a label with words for missing: they are classes only where the user declares them.

    NaN among numbers never is. Returns these words.
    """
    texts = [label.decode(errors="replace") for label in profile.labels]
    nans = find_nans(texts)
    words = [text for text in texts if text.strip(" \t") in MISSING_WORDS and text not in nans]
    if not words or source.label in source.categories:
        return frozenset()
    codes = [texts.index(word) for word in words]
    rows = sum(int((profile.codes == code).sum()) for code in codes)
    shown, name = ", ".join(map(repr, words)), source.label
    count = "1 row: if it has no label" if rows == 1 else f"{rows:,} rows: if they have no label"
    missing = sorted({*source.missing, *(word.strip() for word in words)})
    message = (
        f"{source.data}: label {name!r} is {shown} in {count}, "
        f"{advise('missing', missing)}; if that is a class, "
        + advise("categories", [*source.categories, name])
    )
    faults.add(SchemaError(message), missing=(word.strip() for word in words))
    return frozenset(words)


def _sample(found: SemanticType) -> str:
    """Choose the text to show: one that is not read."""
    return (found.words if _is_read(found) and found.words else found.texts)[0]


def _is_read(found: SemanticType) -> bool:
    return found.kind in READABLE


def _describe(name: str, found: SemanticType, source: TableSource, place: str) -> str:
    """Describe a column: what its texts are, where, and how to read them."""
    sample, words = f"{truncate(_sample(found), _MAX_CHARACTERS)!r}{place}", found.words
    what = f"column {name!r} holds {found.kind}"
    if _is_read(found):
        if not words:
            return f"{what} and others, for example {sample}"
        more = f" and {len(words) - 1} more texts" if len(words) > 1 else ""
        return f"{what}, but also {sample}{more}: {_missing(words, source)}"
    gaps = f"; {_missing(words, source)}" if words else ""
    if hint := number_hint(name, found.texts, source.reading.decimal):
        return f"{hint}, for example {sample}{gaps}"
    shown = ", ".join(repr(truncate(word, _MAX_CHARACTERS)) for word in words[:_MAX_TEXTS])
    beside = f", beside {shown}" if words else ""
    return f"{what}, for example {sample}{beside}: {_advise(name, found)}{gaps}"


def _advise(name: str, found: SemanticType) -> str:
    formats = found.date_formats[:2]
    options = [option("date_format", f"{name}={each}") for each in formats]
    if options:
        return f"give {' or '.join(options)}"
    if found.kind in IDENTIFIERS:
        return "they name rows, which teaches nothing of other rows"
    if found.kind == OTHER_DATES:
        return "write them in ISO 8601, such as 2024-12-31"
    return "write them as plain numbers"


def _missing(words: Sequence[str], source: TableSource) -> str:
    if len(words) > _MAX_TEXTS:
        return "correct such cells, or leave them empty"
    those = "it means" if len(words) == 1 else "they mean"
    return f"if {those} missing, {advise('missing', sorted({*source.missing, *words}))}"


def _find_places(source: TableSource, texts: Mapping[str, str]) -> dict[str, str]:
    """Find where each column first has a text, for messages: ``(line 3)`` or ``(record 2)``.

    Of a folder's, the file comes first.
    """
    found: dict[str, str] = {}
    with open_tables(source.data, source.reading, source.required_columns, option="data") as table:
        table.find_columns(tuple(texts))
        positions = {name: table.columns.index(name) for name in texts}
        for block in table.blocks(sorted(positions.values())):
            for name in texts.keys() - found.keys():
                cells = cell_texts(block.select([positions[name]]).column(0))
                pattern = rb"\A[ \t]*" + re.escape(texts[name]).encode() + rb"[ \t]*\z"
                matches = pc.fill_null(pc.match_substring_regex(cells, pattern), bool_scalar(False))
                if (at := _first(bool_values(matches))) is not None:
                    (row,) = block.report({at: RowIssue("")})
                    where = f"record {row.record}" if row.line is None else f"line {row.line}"
                    found[name] = f" ({row.source}, {where})" if row.source else f" ({where})"
            if len(found) == len(texts):
                break
    return {name: found.get(name, "") for name in texts}


def _first(marks: Iterable[bool]) -> int | None:
    return next((at for at, mark in enumerate(marks) if mark), None)
