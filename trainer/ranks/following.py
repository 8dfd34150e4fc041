"""The other processes of a fit: they make steps on their part of each batch, and say nothing.

Files, options, judging and printing are the first process's: what the others need of it they
receive. A process that loses the others, or is told to, ends; signals are the first's to answer,
since a step that one of them left would leave all the others waiting.
"""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, NoReturn

import torch

from runtime.errors import UnavailableError
from trainer.device import reproducible
from trainer.engines.state import State, lay_out
from trainer.engines.task import Task
from trainer.model import SimpleNet
from trainer.ranks.agreement import check_equal, check_ready, digest_of, why_absent
from trainer.ranks.group import Group
from trainer.ranks.messages import End, Opening, Ready, Steps, decode_message
from trainer.ranks.part import Part
from trainer.standardise import Standardisation

if TYPE_CHECKING:
    from trainer.ranks.messages import Message
    from trainer.ranks.place import Place


def follow(place: Place) -> NoReturn:
    """Take part in what the first process does, until it ends.

    Args:
        place: of this process, not rank 0.

    Raises:
        SystemExit: with the exit code of the first process, or of ``UnavailableError``.
    """
    try:
        group = _join(place)
        try:
            sys.exit(_follow(group))
        finally:
            group.leave()
    except UnavailableError as exc:  # the first says why
        sys.exit(exc.exit_code)


def _join(place: Place) -> Group:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # nothing is lost yet
    group = Group(place)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return group


def _follow(group: Group) -> int:
    message = _hear(group)
    while isinstance(message, Opening):
        if message.device == "cuda" and not why_absent(group.place, is_cuda=True):
            torch.cuda.set_device(group.place.local_rank)
        with reproducible(message.device):
            message = _take_part(group, message)
    group.collect(b"")
    return message.code if isinstance(message, End) else 1


def _take_part(group: Group, opening: Opening) -> Message:
    """Make the steps of a fit.

    Args:
        group: all processes.
        opening: what the fit is.

    Returns:
        The message that is no longer of it.
    """
    tensors = group.spread_tensors({})
    error = why_absent(group.place, is_cuda=opening.device == "cuda")
    check_ready(group, Ready(error, digest_of(tensors)))
    task, state, part = _prepare(group, opening, tensors)
    losses = torch.empty(-(-task.rows_at_once // task.batch_size), device=opening.device)
    while isinstance(message := _hear(group), Steps):
        if message.state:
            vectors = {"values": state.values, **state.moments}
            for name, vector in group.spread_tensors({}).items():
                vectors[name].copy_(vector)
        order = torch.empty(message.rows, dtype=torch.int64)
        group.spread(order)
        part.run(
            order,
            losses[: -(-message.rows // task.batch_size)],
            learning_rate=message.learning_rate,
            done=message.done,
        )
        check_equal(group, state)
    return message


def _prepare(
    group: Group, opening: Opening, tensors: dict[str, torch.Tensor]
) -> tuple[Task, State, Part]:
    """Make what the steps need; weights come with the first of them."""
    features, labels = tensors["features"], tensors["labels"]
    weights = tensors.get("class_weights")
    task = Task(
        batch_size=opening.batch_size,
        rows_at_once=opening.rows_at_once,
        weight_decay=opening.weight_decay,
        class_weights=None if weights is None else weights.to(opening.device),
    )
    network = SimpleNet(features.shape[1], opening.classes, opening.hidden).to(opening.device)
    state = lay_out(network, opening.optimiser)
    scale = Standardisation(tensors["mean"], tensors["std"]) if "mean" in tensors else None
    return task, state, Part(group, task, state, (features, labels), scale)


def _hear(group: Group) -> Message:
    return decode_message(group.spread_bytes())
