"""Public names of a package that are imported on first use, so that ``import`` is fast."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_VERSION = "__version__"


def lazy_names(
    package: str, modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    ``modules`` are the modules of its public names. ``__dir__`` lists these and names with double
    underscores only, not modules that happen to be loaded.
    """

    def get_attribute(name: str) -> object:
        if name == _VERSION:
            from importlib.metadata import version

            return version("onnxferry")
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name]), name)

    def list_names() -> list[str]:
        dunders = {name for name in vars(sys.modules[package]) if name.startswith("__")}
        return sorted({*modules, *dunders, _VERSION})

    return get_attribute, list_names
