"""The trainer: fit a small classifier to a table and write a run directory.

``trainer.fit`` is the module; its function is ``from trainer.fit import fit``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainer.config import Configuration, configure
    from trainer.data.products import write_sample
    from trainer.model import SimpleNet
    from trainer.pipeline import Outcome, make_run
    from trainer.run import Run, load_run

__all__ = [
    "Configuration",
    "Outcome",
    "Run",
    "SimpleNet",
    "configure",
    "load_run",
    "make_run",
    "write_sample",
]

_MODULES = {
    "Configuration": "trainer.config",
    "Outcome": "trainer.pipeline",
    "Run": "trainer.run",
    "SimpleNet": "trainer.model",
    "configure": "trainer.config",
    "load_run": "trainer.run",
    "make_run": "trainer.pipeline",
    "write_sample": "trainer.data.products",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``import trainer`` loads no torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
