"""Whether all processes of a fit have the same: rows before the first step, weights after steps.

In: what this process has. Every process calls these at the same time, and all come to the same
end. Raises ``UnavailableError`` when a process cannot take part or has something else.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import torch

from runtime.errors import UnavailableError
from trainer.ranks.messages import Ready

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trainer.engines.state import State
    from trainer.ranks.group import Group
    from trainer.ranks.place import Place


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 over the bytes of tensors, in their order.

    Args:
        tensors: by name, on any device.

    Returns:
        Hexadecimal digits.
    """
    sha256 = hashlib.sha256()
    for tensor in tensors.values():
        sha256.update(tensor.detach().cpu().contiguous().numpy().data)
    return sha256.hexdigest()


def vectors_by_name(state: State) -> dict[str, torch.Tensor]:
    """Name what steps change, as it is now.

    Args:
        state: with or without moments, on any device.

    Returns:
        Vectors on the CPU; of a state there, no copies.
    """
    return {"values": state.values.cpu()} | {
        name: moment.cpu() for name, moment in state.moments.items()
    }


def check_equal(group: Group, state: State) -> None:
    """Compare the states of all processes, bit for bit.

    Args:
        group: all processes.
        state: of this one.

    Raises:
        UnavailableError: when they differ.
    """
    mine = digest_of(vectors_by_name(state))
    digests = group.collect(mine.encode())
    # What is not a number may have other bits elsewhere; the fit ends then, as one that diverged.
    if len(set(digests)) > 1 and bool(torch.isfinite(state.values).all()):
        others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
        raise UnavailableError(
            f"after the same steps, rank {_list(others)} and rank 0 have different weights: use "
            "machines of the same kind, with the same versions of torch, or one process"
        )


def check_ready(group: Group, ready: Ready) -> None:
    """Compare the answers of all processes to an opening.

    Args:
        group: all processes.
        ready: of this one.

    Raises:
        UnavailableError: when one cannot take part, or has received other rows.
    """
    answers = [
        msgspec.json.decode(answer, type=Ready)
        for answer in group.collect(msgspec.json.encode(ready))
    ]
    for rank, answer in enumerate(answers):
        if answer.error:
            raise UnavailableError(f"rank {rank} cannot take part: {answer.error}")
    others = [rank for rank, answer in enumerate(answers) if answer.digest != answers[0].digest]
    if others:
        raise UnavailableError(
            f"rank {_list(others)} received other rows than rank 0 sent: the network or a "
            "machine's memory is faulty; start the fit anew"
        )


def why_absent(place: Place, *, is_cuda: bool) -> str:
    """Say why a process cannot take part.

    Args:
        place: of the process.
        is_cuda: whether the fit is on CUDA.

    Returns:
        A reason and what to do, or nothing.
    """
    devices = torch.cuda.device_count() if is_cuda else 0
    if not is_cuda or place.local_size <= devices:
        return ""
    return (
        f"its machine has {devices} CUDA devices for {place.local_size} processes: give "
        "torchrun --nproc-per-node as many as there are, or fit on --device cpu"
    )


def _list(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
