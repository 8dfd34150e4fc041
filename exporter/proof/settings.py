"""The settings of onnxruntime under which a model is proven.

In: what this machine offers. Out: ``Setting`` s, each of which opens a session. Raises what
``Session`` raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from runtime.session import Session, available_providers

if TYPE_CHECKING:
    from runtime.session import OptimizationLevel, Provider

_LEVELS: tuple[OptimizationLevel, ...] = ("all", "extended", "basic", "disabled")
_THREADS = (1, 2)


@dataclass(frozen=True)
class Setting:
    """How onnxruntime is set.

    Attributes:
        provider: that runs the model.
        level: of graph optimisation.
        threads: for one batch.
    """

    provider: Provider
    level: OptimizationLevel
    threads: int

    @property
    def name(self) -> str:
        """Name of the contender, such as ``onnx-cpu-all-1``."""
        return f"onnx-{self.provider}-{self.level}-{self.threads}"

    def open(self, content: bytes, *, where: str) -> Session:
        """Load a model with this setting; raises as ``Session`` does."""
        return Session(
            content, provider=self.provider, threads=self.threads, level=self.level, where=where
        )


def settings() -> list[Setting]:
    """Every optimisation level, each with one thread and two, on every provider present."""
    return [
        Setting(provider, level, threads)
        for provider, level, threads in product(available_providers(), _LEVELS, _THREADS)
    ]
