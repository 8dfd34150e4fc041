from __future__ import annotations

import pytest

import trainer


@pytest.mark.parametrize("name", trainer.__all__)
def test_public_names_are_there(name: str) -> None:
    """Every public name can be imported."""
    assert getattr(trainer, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    """An unknown name is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="module 'trainer' has no attribute 'ftt'"):
        _ = trainer.ftt
