"""The first process of a fit: it decides what is done, and the others are told.

In: what an engine needs. Out: an engine whose steps all processes make together. Raises
``UnavailableError`` when a process cannot take part, has gone, or computes other bits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import torch

from runtime.errors import UnavailableError
from trainer.ranks.group import Group, digest_of
from trainer.ranks.messages import End, Opening, Ready, Steps
from trainer.ranks.part import Part

if TYPE_CHECKING:
    from trainer.engines.state import State
    from trainer.engines.task import Task
    from trainer.ranks.messages import Message
    from trainer.ranks.place import Place
    from trainer.standardise import Standardisation


class Leader:
    """Speaks to the other processes.

    Attributes:
        group: all processes.
    """

    def __init__(self, place: Place) -> None:
        """Wait for the other processes.

        Args:
            place: of this process, rank 0.

        Raises:
            UnavailableError: when they cannot be joined.
        """
        self.group = Group(place)
        self._is_heard = True  # whether the others wait for a message, not for a tensor

    def open_engine(
        self,
        task: Task,
        state: State,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
    ) -> Led:
        """Give all processes what they need to make steps.

        Args:
            task: what stays the same in all steps.
            state: is changed in place.
            rows: features ``(rows, n_features)`` float32, raw, and labels ``(rows,)``, on the CPU.
            scale: what standardises a row; None leaves rows raw.

        Returns:
            An engine that has made no step.

        Raises:
            UnavailableError: when a process cannot take part.
        """
        self.tell(_describe(task, state))
        tensors = {"features": rows[0], "labels": rows[1]}
        if scale:
            tensors |= {"mean": scale.mean, "std": scale.std}
        if task.class_weights is not None:
            tensors["class_weights"] = task.class_weights.cpu()
        self.group.spread_tensors(tensors)
        place = self.group.place
        ready = Ready(why_absent(place, is_cuda=state.values.is_cuda), digest_of(tensors))
        check_ready(self.group, ready)
        self.listen()
        return Led(self, Part(self.group, task, state, rows, scale), state)

    def tell(self, message: Message) -> None:
        """Send a message; until ``listen`` the others wait for what follows it."""
        self._is_heard = False
        self.group.spread_bytes(msgspec.json.encode(message))

    def listen(self) -> None:
        """Note that what followed a message is done."""
        self._is_heard = True

    def end(self, code: int) -> None:
        """End the other processes; those in the middle of something end when this one does.

        Args:
            code: their exit code.
        """
        with suppress(UnavailableError):  # one that has gone has ended
            if self._is_heard:
                self.tell(End(code))
                self.group.collect(b"")  # a connection that is closed too soon loses the message
                self.group.leave()


class Led:
    """An engine whose steps are made by all processes."""

    def __init__(self, leader: Leader, part: Part, state: State) -> None:
        """Prepare; nothing is computed.

        Args:
            leader: speaks to the others.
            part: this process's.
            state: of this process; the others get it with their first steps.
        """
        self._leader, self._part, self._state = leader, part, state
        self._is_new = True

    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Make a step for each batch of rows.

        Args:
            order: positions of rows, ``(rows,)`` int32 or int64 on the CPU.
            losses: the mean loss of each batch before its step is written here, ``(steps,)``.
            learning_rate: of these steps.
            done: steps made before these.

        Raises:
            UnavailableError: when a process has gone, or has other weights after these steps.
        """
        group, positions = self._leader.group, order.long()
        self._leader.tell(Steps(len(order), learning_rate, done, self._is_new))
        if self._is_new:
            group.spread_tensors(vectors_by_name(self._state))
        group.spread(positions)
        self._part.run(positions, losses, learning_rate=learning_rate, done=done)
        check_equal(group, self._state)
        self._is_new = False
        self._leader.listen()


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


def _describe(task: Task, state: State) -> Opening:
    layers = state.network.linear_layers()
    return Opening(
        device="cuda" if state.values.is_cuda else "cpu",
        hidden=tuple(layer.out_features for layer in layers[:-1]),
        classes=layers[-1].out_features,
        optimiser="adamw" if state.moments else "sgd",
        batch_size=task.batch_size,
        rows_at_once=task.rows_at_once,
        weight_decay=task.weight_decay,
    )


def _list(ranks: list[int]) -> str:
    return ", ".join(map(str, ranks))
