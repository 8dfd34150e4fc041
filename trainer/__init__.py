"""The trainer: fit a small classifier to a table of numbers and leave a run behind."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.config import Configuration
    from trainer.fit import fit
    from trainer.model import SimpleNet
    from trainer.run import Run, load_run
    from trainer.sample import write_sample

__all__ = ["Configuration", "Run", "SimpleNet", "fit", "load_run", "write_sample"]

_HOME = {
    "Configuration": "trainer.config",
    "Run": "trainer.run",
    "SimpleNet": "trainer.model",
    "fit": "trainer.fit",
    "load_run": "trainer.run",
    "write_sample": "trainer.sample",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import trainer`` loads no torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
