"""What the supervisor tells a worker. No errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runtime.value import Value

if TYPE_CHECKING:
    from pathlib import Path

    from runtime.serving.settings import Settings


class Task(Value, frozen=True):
    """What a worker has to do.

    Attributes:
        bundles: folders by name.
        settings: how they are served.
        listener: number of the descriptor of its bound socket.
        folder: where the workers' sockets lie.
        number: its own, from 0.
        of: how many workers there are.
        follows: it takes the place of a worker that died.
    """

    bundles: dict[str, Path]
    settings: Settings
    listener: int
    folder: Path
    number: int
    of: int
    follows: bool
