"""Bundles to package, and the tools of the platforms."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="session")
def products() -> Path:
    """A bundle with two columns of numbers; not to be written to."""
    return DATA / "bundle"


@pytest.fixture(scope="session")
def sales() -> Path:
    """A bundle with categories, dates and gaps; not to be written to."""
    return DATA / "sales"


@pytest.fixture(scope="session")
def tool(checkout: Path) -> Callable[[str], Path]:
    """``tool("python")``: a program of the environment with the platforms' tools, or a skip."""

    def find(name: str) -> Path:
        folder = checkout / "artifacts" / "peers" / "kserve"
        program = folder / "bin" / name
        if not (folder / ".tools-ready").exists() or not program.exists():
            pytest.skip("not in our extras: python benchmarks/kserve_client.py --prepare")
        return program

    return find
