"""What writes a scored table, in any format.

In: blocks with their answers, encoded in threads and written in order. Out: a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from runtime.scoring.answers import Answers
    from runtime.tables.table import Block

Piece = TypeVar("Piece")


class Output(Protocol[Piece]):
    """A table being written."""

    def encode(self, block: Block, answers: Answers) -> Piece:
        """Turn a block with its answers into what is written; safe in any thread."""

    def write(self, piece: Piece) -> None:
        """Write what ``encode`` made, in the order of the blocks."""

    def finish(self) -> None:
        """Write what belongs after the last block, and hand everything to the system."""
