"""The trainer: fit a small classifier to a table and write a run directory.

``trainer.fit`` is a module; ``trainer.fit_table`` trains on a table of yours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from trainer.config import Configuration, configure
    from trainer.data.products import write_sample
    from trainer.fitting import fit_table
    from trainer.model import SimpleNet
    from trainer.pipeline import Outcome, make_run
    from trainer.run import Run, load_run

    __version__: str

__all__ = [
    "Configuration",
    "Outcome",
    "Run",
    "SimpleNet",
    "configure",
    "fit_table",
    "load_run",
    "make_run",
    "write_sample",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Configuration": "trainer.config",
        "Outcome": "trainer.pipeline",
        "Run": "trainer.run",
        "SimpleNet": "trainer.model",
        "configure": "trainer.config",
        "fit_table": "trainer.fitting",
        "load_run": "trainer.run",
        "make_run": "trainer.pipeline",
        "write_sample": "trainer.data.products",
    },
)
