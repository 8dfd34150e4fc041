"""Names of columns that differ in what a reader cannot see."""

from __future__ import annotations

import pytest

from runtime.errors import SchemaError
from runtime.schema.features import Feature, Schema
from runtime.schema.names import fold_name, suggest_names

ALL = "case, blanks, the Unicode form, width or invisible characters"


@pytest.mark.parametrize(
    ("name", "column", "difference"),
    [
        ("pr\u00e4mie", "pra\u0308mie", "the Unicode form (NFD here)"),
        ("pra\u0308mie", "pr\u00e4mie", "the Unicode form (NFC here)"),
        ("\u1ea4", "\u00c2\u0301", "the Unicode form"),
        ("pr\u00e4mie", " PRA\u0308MIE", ALL),
        ("price", "pri\u200bce", ALL),
        ("price", "\ufeffprice", ALL),
        ("price", "pri\u00adce", ALL),
        ("price eur", "price\u00a0eur", ALL),
        ("price", "\uff50\uff52\uff49\uff43\uff45", ALL),
        ("\u30ab\u30ac", "\uff76\uff76\uff9e", ALL),
    ],
    ids=["NFD", "NFC", "neither", "NFD and case", "zero width", "mark", "soft hyphen", "no-break",
         "full width", "half width"],
)  # fmt: skip
def test_an_invisible_difference_is_named_and_taken_if_requested(
    name: str, column: str, difference: str
) -> None:
    """The message says in what the names differ, and its advice works."""
    schema = Schema("target", (Feature(name, 0, 1),), ("no", "yes"))
    with pytest.raises(SchemaError) as refusal:
        schema.bind(["id", column])
    assert f"which differs only in {difference}: rename it, or ignore" in str(refusal.value)
    assert schema.bind(["id", column], loose=True) == (1,)
    assert f"It differs only in {difference}: copy it" in suggest_names(name, ["id", column])


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("m2", "m\u00b2"),
        ("x1", "x\u2081"),
        ("pramie", "pr\u00e4mie"),
        ("a b", "ab"),
    ],
)
def test_what_can_be_seen_is_another_name(name: str, other: str) -> None:
    """A square metre is no m2."""
    assert fold_name(name) != fold_name(other)


def test_two_forms_of_a_name_in_one_table_are_not_guessed() -> None:
    """The exact name comes first; without one the match is ambiguous."""
    schema = Schema("target", (Feature("pr\u00e4mie", 0, 1),), ("no", "yes"))
    assert schema.bind(["pra\u0308mie", "pr\u00e4mie"], loose=True) == (1,)
    with pytest.raises(SchemaError, match="rename the right one"):
        schema.bind(["pra\u0308mie", "PR\u00c4MIE"], loose=True)
