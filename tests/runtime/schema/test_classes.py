from __future__ import annotations

import pytest

from runtime.errors import UsageError
from runtime.schema.classes import choose_classes, find_class, positive_class
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


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (("no", "yes"), 1),
        (("0", "1"), 1),
        (("1.0", "-1"), 0),
        (("True", "FALSE"), 0),
        (("pos", "neg"), 0),
        ((" Yes", "No "), 0),
        (("churned", "stays"), None),
        (("1", "2"), None),
        (("no", "true"), None),
        (("no", "yes", "maybe"), None),
    ],
)
def test_the_positive_class_is_known_by_its_name(
    classes: tuple[str, ...], positive: int | None
) -> None:
    """Pairs of opposite words and numbers, in any order; nothing is guessed."""
    assert positive_class(classes) == positive
    if positive is not None:
        assert choose_classes(classes, "positive") == (positive,)
        return
    with pytest.raises(UsageError, match=f'do not say which .*proba="{classes[-1]}"$'):
        choose_classes(classes, "positive")


def test_classes_are_chosen_by_name() -> None:
    """All, one by its name, or none; a class that is called positive is one."""
    assert choose_classes(("a", "b"), proba=False) == ()
    assert choose_classes(("a", "b"), proba=True) == choose_classes(("a", "b"), "all") == (0, 1)
    assert choose_classes(("a", "b"), "b") == (1,)
    assert choose_classes(("positive", "x", "y"), "positive") == (0,)
    assert find_class(("0", "1"), 1.0) == find_class(("false", "true"), name=True) == 1
    with pytest.raises(UsageError, match="no class 'c'; the classes are 'a', 'b'"):
        find_class(("a", "b"), "c")
