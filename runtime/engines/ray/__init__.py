"""Scoring on Ray, with the extra ``[ray]``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.lazy import lazy_names

if TYPE_CHECKING:
    from runtime.engines.ray.datasets import score, score_to
    from runtime.engines.ray.datasink import AtomicParquet

__all__ = ["AtomicParquet", "score", "score_to"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AtomicParquet": "runtime.engines.ray.datasink",
        "score": "runtime.engines.ray.datasets",
        "score_to": "runtime.engines.ray.datasets",
    },
)
