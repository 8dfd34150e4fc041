"""Checks that all processes of a fit compute the same; every process calls them together."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from runtime.errors import DataError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainer.distributed.environment import ProcessRank
    from trainer.distributed.group import ProcessGroup
    from trainer.engines.state import ModelState


def check_same_fit(group: ProcessGroup, data_digest: str, options: Mapping[str, object]) -> None:
    """Compare data, options and versions before the first step."""
    fits = group.all_gather((data_digest, dict(options)))
    if others := _different([digest for digest, _ in fits]):
        raise DataError(
            f"rank {others} and rank 0 have read different rows: give all processes the same table"
        )
    if others := _different([given for _, given in fits]):
        first = fits[0][1]
        names = {name for _, given in fits for name in first if given.get(name) != first[name]}
        raise UsageError(
            f"rank {others} and rank 0 differ in {', '.join(sorted(names))}: start all processes "
            "with the same options and versions"
        )


def check_same_weights(group: ProcessGroup, state: ModelState) -> None:
    """Compare weights and moments after the same steps, bit for bit."""
    sha256 = hashlib.sha256()
    for vector in (state.values, *state.moments.values()):
        sha256.update(vector.detach().cpu().numpy().data)
    others = _different(group.all_gather(sha256.digest()))
    # NaNs may have other bits elsewhere; the fit then ends as diverged.
    if others and bool(torch.isfinite(state.values).all()):
        raise UnavailableError(
            f"after the same steps, rank {others} and rank 0 have different weights: use machines "
            "of the same kind, with the same versions of torch, or one process"
        )


def claim_device(process: ProcessRank) -> None:
    """Select the CUDA device of this process; each process of a machine has its own."""
    devices = torch.cuda.device_count()
    if process.local_size > devices:
        raise UnavailableError(
            f"this machine has {devices} CUDA devices for {process.local_size} processes: give "
            "torchrun --nproc-per-node as many as there are, or fit on --device cpu"
        )
    torch.cuda.set_device(process.local_rank)


def _different(values: Sequence[object]) -> str:
    """Return the ranks whose value is not rank 0's."""
    return ", ".join(str(rank) for rank, value in enumerate(values) if value != values[0])
