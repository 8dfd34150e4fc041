"""From which size on a fit is faster on CUDA: the rule of ``--device auto``.

A step of a small batch is a dozen kernels that do next to nothing: the CPU makes it in the time
that a device needs to launch them. From some batch size on the device is faster, and from some
number of rows on that makes up for its start. In: sizes, and where they cross on a card. Out: a
device and why. No errors. The rule is a function of these alone; ``benchmarks/crossing.py``
measures where a card's crossing is and writes it into ``crossings.json``.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.config import DeviceName

CROSSINGS: Final = "crossings.json"


@dataclass(frozen=True)
class Device:
    """A device that is there.

    Attributes:
        name: what torch and the run's record call it.
        reason: why it is this one, for people.
    """

    name: DeviceName
    reason: str

    def adding(self, more: str) -> Device:
        """Say one more thing of it, where there is one."""
        return Device(self.name, f"{self.reason}; {more}") if more else self


@dataclass(frozen=True)
class Work:
    """How much a fit has to do.

    Attributes:
        batch_size: rows a step.
        rows: to learn from.
        epochs: passes over them, at most.
    """

    batch_size: int
    rows: int
    epochs: int


@dataclass(frozen=True)
class Crossing:
    """From where on a card is faster than the CPU beside it.

    Attributes:
        batch_size: rows a step; None where it never is.
        rows: rows times epochs that make up for the start of CUDA, at such batches.
    """

    batch_size: int | None
    rows: int


# Where nobody has measured a card: an H100 is reckoned to make a step in 25 µs whatever its batch
# holds, which is what the CPU's written-out step takes for about a thousand rows. CUDA, its
# libraries and torch's deterministic mode take about two seconds to start, in which the CPU sees
# ten million rows of large batches.
RECKONED: Final = Crossing(batch_size=1024, rows=10_000_000)


def choose_by_size(work: Work, crossing: Crossing, card: str) -> Device:
    """Choose between a CUDA device that is there and the CPU.

    Args:
        work: of the fit.
        crossing: of the card.
        card: its name.

    Returns:
        The device, and why.
    """
    size = min(work.batch_size, work.rows)
    least, seen = crossing.batch_size, work.rows * work.epochs
    if least is None:
        return Device("cpu", f"it is faster here than {card}, whatever the batch")
    if size < least:
        return Device(
            "cpu", f"batches of {size:,} are faster here than on {card} (from about {least:,})"
        )
    if seen < crossing.rows:
        return Device(
            "cpu",
            f"{work.rows:,} rows in {work.epochs:,} epochs are done before {card} has started "
            f"(it pays from about {crossing.rows:,} rows in all)",
        )
    return Device("cuda", f"{card}, faster for batches from about {least:,}")


def crossing_of(card: str) -> Crossing:
    """Look up where a card was measured to cross; ``RECKONED`` where it was not."""
    return read_crossings().get(card, RECKONED)


def read_crossings() -> dict[str, Crossing]:
    """Read what was measured, by the names of cards."""
    content = files("trainer").joinpath(CROSSINGS).read_bytes()
    return msgspec.json.decode(content, type=dict[str, Crossing])


def find_crossing(
    sizes: Sequence[int], cpu: Sequence[float], cuda: Sequence[float], start_s: float
) -> Crossing:
    """Read a crossing off measured steps.

    Args:
        sizes: of batches, ascending.
        cpu: seconds a step on the CPU, of each size.
        cuda: likewise on CUDA.
        start_s: seconds that CUDA takes before its first step.

    Returns:
        The smallest size from which on CUDA is faster for all that were measured, and the rows
        that make up for its start there.
    """
    slower = [at for at in range(len(sizes)) if cuda[at] >= cpu[at]]
    first = max(slower, default=-1) + 1
    if first == len(sizes):
        return Crossing(None, 0)
    saved = max((cpu[at] - cuda[at]) / sizes[at] for at in range(first, len(sizes)))  # s a row
    return Crossing(sizes[first], round(start_s / saved))
