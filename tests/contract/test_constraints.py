"""constraints.txt pins everything that is installed, in a form that works on every machine."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, distribution
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CUDA = re.compile(r"(nvidia|cuda)-|triton$")  # torch's CUDA build names these versions itself
_EXTRAS = frozenset({"gpu", "cpu", "serve", "grpc", "train", "dev"})


@pytest.fixture(scope="module")
def pins(checkout: Path) -> dict[str, str]:
    """Version by name, as the lines stand in the file."""
    lines = (checkout / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = (line.partition("==") for line in lines if not line.startswith("#"))
    return {name: version for name, _, version in pinned}


def _required(name: str, extras: frozenset[str], seen: set[str]) -> Iterator[str]:
    """Names of a distribution's dependencies here, direct and transitive."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return  # the other build of onnxruntime
    for requirement in map(Requirement, lines):
        key = f"{requirement.name}{sorted(requirement.extras)}"
        if key not in seen and _applies(requirement, extras):
            seen.add(key)
            yield canonicalize_name(requirement.name)
            yield from _required(requirement.name, frozenset(requirement.extras), seen)


def _applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement counts here, with these extras of what requires it."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})


def test_everything_installed_is_pinned(pins: dict[str, str]) -> None:
    """Every dependency of an extra is pinned, direct or transitive."""
    wanted = {name for name in _required("onnxferry", _EXTRAS, set()) if not _CUDA.match(name)}
    assert {"onnx", "onnxruntime", "pytest", "torch", "typing-extensions"} <= wanted
    assert wanted - {"onnxferry"} - set(pins) == set()


def test_pins_are_exact_and_hold_on_every_machine(pins: dict[str, str]) -> None:
    """Names are sorted, versions are exact and have no local part: no host, path or build."""
    assert list(pins) == sorted(pins)
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in pins)
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins.values())
    assert pins["torch"] == "2.13.0"
    assert pins["onnxruntime"] == pins["onnxruntime-gpu"]
