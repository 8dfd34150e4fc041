"""Explain why ``torch.export`` cannot capture a module, and at which line of it."""

from __future__ import annotations

import sys
import sysconfig
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import torch

from runtime.errors import first_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TORCH = str(Path(torch.__file__).parent)
_STANDARD_LIBRARY = sysconfig.get_path("stdlib")
_EXPORTER = str(Path(__file__).parents[1])
_MAX_CODE = 100  # characters of a line in a message
# Words of torch's messages, and what they mean.
_REASONS = {
    "data-dependent": "it branches on values, or takes one out of a tensor,{at}: use torch.where "
    "and operations on whole tensors",
    ".numpy() is not": "it leaves torch for numpy{at}: use torch's own functions",
}
_CONSTANT = (
    "its number of rows becomes a constant{at}: use x.shape[0] as it is; len(x), int(x.shape[0]), "
    "a fixed size and a Python loop over rows make it one"
)


def explain_capture(error: Exception, capture: Callable[[], object]) -> str:
    """Explain why ``capture`` raised ``error``; it runs again where the place is not known."""
    text = str(error)
    if "Constraints violated" in text or "specialized" in text:
        return _CONSTANT.format(at=_find_constant(capture))
    at = _format(traceback.extract_tb(error.__traceback__))
    for words, reason in _REASONS.items():
        if words in text:
            return reason.format(at=at)
    return f"{first_line(error)}{at}"


def _find_constant(capture: Callable[[], object]) -> str:
    """Capture again and return the place that first converts the number of rows to an int."""
    found: list[str] = []
    with _recorded(found), suppress(Exception):  # it failed before, and does again
        capture()
    return found[0] if found else ""


@contextmanager
def _recorded(found: list[str]) -> Iterator[None]:
    """Record the places of the user's code where a symbolic size becomes a number."""

    def recording(convert: Callable[[torch.SymInt], int]) -> Callable[[torch.SymInt], int]:
        def converted(size: torch.SymInt) -> int:
            caller = sys._getframe(1)  # noqa: SLF001 - torch's own conversions do not count
            if not caller.f_code.co_filename.startswith(_TORCH) or "len" in caller.f_code.co_name:
                at = _format(traceback.extract_stack(caller))
                found.extend([at] if at else [])
            return convert(size)

        return converted

    with (
        mock.patch.object(torch.SymInt, "__index__", recording(torch.SymInt.__index__)),
        mock.patch.object(torch.SymInt, "__int__", recording(torch.SymInt.__int__)),
    ):
        yield


def _format(frames: traceback.StackSummary) -> str:
    """Name the innermost line of the user's code, if there is one."""
    for frame in reversed(frames):
        if frame.line and _is_users(frame.filename):
            line = frame.line if len(frame.line) <= _MAX_CODE else f"{frame.line[:_MAX_CODE]} …"
            return f" at {Path(frame.filename).name}:{frame.lineno}, `{line}`"
        if frame.filename.startswith(_EXPORTER):
            return ""  # the exporter called torch: what lies outside is not the module
    return ""


def _is_users(filename: str) -> bool:
    if filename.startswith((_TORCH, _EXPORTER, "<")):
        return False
    return "site-packages" in filename or not filename.startswith(_STANDARD_LIBRARY)
