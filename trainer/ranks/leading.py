"""The first process of a fit: it decides what is done, and the others are told.

In: what an engine needs. Out: an engine whose steps all processes make together. Raises
``UnavailableError`` when a process cannot take part, has gone, or computes other bits.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from runtime.errors import UnavailableError
from trainer.ranks.agreement import check_equal, check_ready, digest_of, vectors_by_name, why_absent
from trainer.ranks.group import Group
from trainer.ranks.messages import End, Opening, Ready, Steps
from trainer.ranks.part import Part

if TYPE_CHECKING:
    import torch

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
