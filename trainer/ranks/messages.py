"""What the leading process tells the others, as values and as JSON."""

from __future__ import annotations

import msgspec

from runtime.value import Value
from trainer.config import DeviceName, Optimiser  # noqa: TC001 - msgspec reads them


class Opening(Value, frozen=True, tag=True):
    """A fit begins; its tensors follow.

    Attributes:
        device: of all processes.
        hidden: widths of the hidden layers.
        classes: width of the output.
        optimiser: says which moments there are.
        batch_size: rows a step, of all processes together.
        rows_at_once: rows between two messages, at most.
        weight_decay: of the optimiser.
    """

    device: DeviceName
    hidden: tuple[int, ...]
    classes: int
    optimiser: Optimiser
    batch_size: int
    rows_at_once: int
    weight_decay: float


class Steps(Value, frozen=True, tag=True):
    """Steps to make; the order of their rows follows.

    Attributes:
        rows: of all of them.
        learning_rate: of these steps.
        done: steps made before.
        state: whether weights and moments follow too.
    """

    rows: int
    learning_rate: float
    done: int
    state: bool


class End(Value, frozen=True, tag=True):
    """All processes end.

    Attributes:
        code: with this exit code.
    """

    code: int


class Ready(Value, frozen=True):
    """What each process answers to an opening.

    Attributes:
        error: why it cannot take part; empty when it can.
        digest: SHA-256 of all that it received.
    """

    error: str
    digest: str


class Layout(Value, frozen=True):
    """A tensor that follows.

    Attributes:
        name: what it is.
        dtype: as torch calls it.
        shape: numbers a dimension.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


Message = Opening | Steps | End


def decode_message(content: bytes) -> Message:
    """Read a message.

    Args:
        content: JSON that the leading process wrote.

    Returns:
        The message.
    """
    message: Message = msgspec.json.decode(content, type=Message)
    return message
