"""The names that the packages offer."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

import runtime.scoring.pipeline


@pytest.mark.parametrize("package", ["runtime", "trainer", "exporter"])
def test_the_public_names_are_listed_and_importable(package: str) -> None:
    """``dir()`` has these and the version, not modules that happen to be loaded."""
    module = import_module(package)
    assert [name for name in dir(module) if not name.startswith("__")] == sorted(module.__all__)
    assert "__version__" in dir(module)
    assert module.__version__ == runtime.__version__
    for name in module.__all__:
        found = getattr(module, name)
        assert found.__module__.partition(".")[0] == package, name
        assert found.__doc__, name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'x'"):
        module.x  # noqa: B018 - is refused


def test_a_function_is_not_hidden_by_a_module() -> None:
    """No public name is that of a module of its package, which importing it would put there."""
    for package in ("runtime", "trainer", "exporter"):
        module = import_module(package)
        for name in module.__all__:
            with pytest.raises(ModuleNotFoundError):
                import_module(f"{package}.{name}")


def test_loaded_modules_are_no_public_names() -> None:
    """``import runtime.scoring.pipeline`` adds nothing to the list."""
    assert "runtime.scoring.pipeline" in sys.modules
    assert "scoring" in vars(runtime).keys() - dir(runtime)
