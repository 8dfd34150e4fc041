from __future__ import annotations

import pytest

from runtime.schema.spellings import ClassIndex


@pytest.mark.parametrize(
    ("names", "text", "found"),
    [
        (("0", "1"), "1", 1),
        (("0", "1"), "1.0", 1),
        (("0", "1"), " 1e0\t", 1),
        (("0", "1"), "+01.", 1),
        (("0", "1"), "-0", 0),
        (("0", "1"), "1.5", None),
        (("0", "1"), "", None),
        (("0", "1"), "1e99999999999", None),
        (("0", "1"), "١", None),
        (("1.5", "2.5"), "2.50", 1),
        (("0.1", "0.10000000000000001"), "0.1", 0),
        (("9007199254740993", "9007199254740992"), "9007199254740992.0", 1),
        (("FALSE", "TRUE"), "true", 1),
        (("false", "true"), "1", None),
        (("no", "yes"), "Yes", None),
        (("1", "x"), "1.0", None),
        (("1", "1.0"), "1.0", 1),
        (("1", "1.0"), "01", None),
    ],
)
def test_a_class_is_found_by_its_name_or_value(
    names: tuple[str, ...], text: str, found: int | None
) -> None:
    """Exact, not as floats; texts that are not all numbers or all booleans only by name."""
    assert ClassIndex(names).find(text) == found
