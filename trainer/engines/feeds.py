"""Ways for rows to come to where ``DeviceSteps`` take them.

    Resident    the table lies on the device, and is gathered there
    Streamed    the table stays in the host's memory: a chunk is gathered there, into pinned
                memory, and copied on a stream of its own, while the device works on the one before

In: rows in the order of an epoch. Out: the places of the steps, filled. A chunk is what one launch
takes. Both put the same bits there: rows are standardised on the host, in float64, in any case.
On the CPU there is no stream and nothing is pinned; that is for tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

from trainer.engines.gather import Gather

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.engines.device_steps import DeviceSteps
    from trainer.standardise import Standardisation

    Table = tuple[torch.Tensor, torch.Tensor]

_ROWS_AT_ONCE = 2**18  # standardised in float64 at once, on their way to the device


class Feed(Protocol):
    """Fills the places of steps."""

    def bring(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Bring rows, chunk by chunk; whoever asks for the next has launched what uses the last.

        Args:
            order: positions of rows, ``(rows,)`` on the CPU.
            counts: rows of each chunk, together all of them.

        Returns:
            Of each chunk nothing, once its rows are in their places by the current stream's order.
        """


class Resident:
    """A table on the device."""

    def __init__(self, rows: Table, scale: Standardisation | None, steps: DeviceSteps) -> None:
        """Send the table.

        Args:
            rows: features ``(rows, n_features)`` float32, raw, and labels ``(rows,)``, on the CPU.
            scale: what standardises a row; None leaves rows raw.
            steps: whose places are filled.
        """
        features, labels = rows
        self._steps, self._device = steps, steps.features.device
        self._features = _send(features, scale, self._device)  # (rows, n_features)
        self._labels = labels.to(self._device)  # (rows,)

    def bring(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Gather rows on the device; see ``Feed``."""
        if self._device.type == "cuda":
            order = order.pin_memory().to(self._device, non_blocking=True)  # (rows,)
        features, labels = self._steps.features, self._steps.labels
        for here in torch.split(order, list(counts)):
            torch.index_select(self._features, 0, here, out=features[: len(here)])
            torch.index_select(self._labels, 0, here, out=labels[: len(here)])
            yield


class Streamed:
    """A table in the host's memory; two chunks of it are under way at most."""

    def __init__(self, rows: Table, scale: Standardisation | None, steps: DeviceSteps) -> None:
        """Make the seats; nothing is sent.

        Args:
            rows: features ``(rows, n_features)`` float32, raw, and labels ``(rows,)``, on the CPU.
            scale: what standardises a row; None leaves rows raw.
            steps: whose places are filled.
        """
        most = len(steps.features)
        self._steps = steps
        self._gather = Gather(*rows, scale, most)
        seat = _PinnedSeat if steps.features.is_cuda else _Seat
        self._seats = [seat(steps) for _ in range(2)]
        self._turn = 0

    def bring(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Send one chunk ahead of the device; see ``Feed``."""
        parts = torch.split(order, list(counts))
        ahead = self._load(parts[0]) if parts else None
        for at, part in enumerate(parts):
            assert ahead is not None  # noqa: S101 - every part is loaded one turn ahead
            ahead.hand_over(self._steps, len(part))
            yield
            ahead = self._load(parts[at + 1]) if at + 1 < len(parts) else None

    def _load(self, part: torch.Tensor) -> _Seat:
        """Gather a chunk and send it off."""
        seat = self._seats[self._turn % 2]
        self._turn += 1
        seat.load(self._gather, part)
        return seat


class _Seat:
    """Where a chunk waits, on the CPU."""

    def __init__(self, steps: DeviceSteps) -> None:
        self.features = torch.empty(steps.features.shape)
        self.labels = torch.empty(steps.labels.shape, dtype=torch.int64)

    def load(self, gather: Gather, order: torch.Tensor) -> None:
        """Gather a chunk."""
        gather.into(order, self.features[: len(order)], self.labels[: len(order)])

    def hand_over(self, steps: DeviceSteps, rows: int) -> None:
        """Put the chunk where steps take it."""
        steps.features[:rows].copy_(self.features[:rows])
        steps.labels[:rows].copy_(self.labels[:rows])


class _PinnedSeat(_Seat):
    """Where a chunk waits: in pinned memory of the host, then in memory of the device."""

    def __init__(self, steps: DeviceSteps) -> None:
        super().__init__(steps)
        self._pinned = self.features.pin_memory(), self.labels.pin_memory()
        self.features, self.labels = (
            torch.empty_like(place) for place in (steps.features, steps.labels)
        )
        self._aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._sent, self._taken = (
            torch.cuda.Event()  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        self._taken.record()  # what the memory was used for before is done then

    def load(self, gather: Gather, order: torch.Tensor) -> None:
        """Gather a chunk and begin to copy it."""
        rows = len(order)
        here = [part[:rows] for part in self._pinned]
        self._sent.synchronize()  # the chunk before the last: it has left long ago
        gather.into(order, *here)
        with torch.cuda.stream(self._aside):
            self._aside.wait_event(self._taken)
            self.features[:rows].copy_(here[0], non_blocking=True)
            self.labels[:rows].copy_(here[1], non_blocking=True)
            self._sent.record()

    def hand_over(self, steps: DeviceSteps, rows: int) -> None:
        """Let the steps' stream wait for the copy, and take it."""
        torch.cuda.current_stream().wait_event(self._sent)
        super().hand_over(steps, rows)
        self._taken.record()


def _send(
    features: torch.Tensor, scale: Standardisation | None, device: torch.device
) -> torch.Tensor:
    """Standardise rows on their way to the device, a block at a time."""
    sent = torch.empty(features.shape, device=device)
    blocks = (torch.split(whole, _ROWS_AT_ONCE) for whole in (sent, features))
    for there, here in zip(*blocks, strict=True):
        there.copy_(scale.apply(here) if scale else here)
    return sent
