"""Rows in an epoch's order: gathered in memory, resident on a device, or streamed to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trainer.model import Standardisation

    RowTensors = tuple[torch.Tensor, torch.Tensor]  # (rows, n_features), labels (rows,)

_ROWS_AT_ONCE = 2**18  # standardised in float64 at once, on their way to the device


class Gather:
    """Gathers rows on the CPU; the tensors returned are valid until the next call."""

    def __init__(
        self,
        features: torch.Tensor,
        labels: torch.Tensor,
        scale: Standardisation | None,
        max_rows: int,
    ) -> None:
        """Allocate buffers for ``max_rows`` rows; features are raw, ``(rows, n_features)``."""
        self._features, self._labels, self._scale = features, labels, scale
        self.n_features = features.shape[1]
        self._feature_buffer = torch.empty(max_rows, features.shape[1])
        self._float64_buffer = torch.empty(max_rows, features.shape[1], dtype=torch.float64)
        self._label_buffer = torch.empty(max_rows, dtype=torch.int64)

    def __call__(self, order: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gather features and labels of the positions ``order``, ``(rows,)``."""
        features, labels = self._feature_buffer[: len(order)], self._label_buffer[: len(order)]
        self.gather_into(order, features, labels)
        return features, labels

    def gather_into(
        self, order: torch.Tensor, features: torch.Tensor, labels: torch.Tensor
    ) -> None:
        """Gather into the caller's buffers on the CPU."""
        torch.index_select(self._features, 0, order, out=features)
        torch.index_select(self._labels, 0, order, out=labels)
        if self._scale is not None:
            self._scale.apply_in_place(features, self._float64_buffer[: len(order)])


class RowFeed(Protocol):
    """Fills the input tensors of steps."""

    def chunks(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Load rows chunk by chunk; the previous chunk's steps are launched before the next."""


class ResidentRows:
    """Rows that stay in device memory."""

    def __init__(self, rows: RowTensors, scale: Standardisation | None, inputs: RowTensors) -> None:
        """Send the raw rows, standardised, to the device of ``inputs``, the tensors to fill."""
        features, labels = rows
        self._inputs, self._device = inputs, inputs[0].device
        self._features = _send(features, scale, self._device)  # (rows, n_features)
        self._labels = labels.to(self._device)  # (rows,)

    def chunks(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Gather rows on the device; see ``RowFeed``."""
        if self._device.type == "cuda":
            order = order.pin_memory().to(self._device, non_blocking=True)  # (rows,)
        features, labels = self._inputs
        for part in torch.split(order, list(counts)):
            torch.index_select(self._features, 0, part, out=features[: len(part)])
            torch.index_select(self._labels, 0, part, out=labels[: len(part)])
            yield


class StreamedRows:
    """Rows in host memory, streamed to the device through two buffers."""

    def __init__(self, rows: RowTensors, scale: Standardisation | None, inputs: RowTensors) -> None:
        """Allocate the buffers; ``inputs`` are the tensors to fill."""
        self._inputs = inputs
        self._gather = Gather(*rows, scale, len(inputs[0]))
        kind = _PinnedBuffer if inputs[0].is_cuda else _ChunkBuffer
        self._buffers = [kind(inputs) for _ in range(2)]
        self._loaded = 0

    def chunks(self, order: torch.Tensor, counts: Sequence[int]) -> Iterator[None]:
        """Load one chunk ahead of the device; see ``RowFeed``."""
        parts = torch.split(order, list(counts))
        ahead = self._load(parts[0]) if parts else None
        for at, part in enumerate(parts):
            assert ahead is not None  # noqa: S101 - every part is loaded one turn ahead
            ahead.copy_to(self._inputs, len(part))
            yield
            ahead = self._load(parts[at + 1]) if at + 1 < len(parts) else None

    def _load(self, part: torch.Tensor) -> _ChunkBuffer:
        """Gather a chunk and start sending it."""
        buffer = self._buffers[self._loaded % 2]
        self._loaded += 1
        buffer.load(self._gather, part)
        return buffer


class _ChunkBuffer:
    """The buffer of a chunk, on the CPU."""

    def __init__(self, inputs: RowTensors) -> None:
        self.features = torch.empty(inputs[0].shape)
        self.labels = torch.empty(inputs[1].shape, dtype=torch.int64)

    def load(self, gather: Gather, order: torch.Tensor) -> None:
        """Gather a chunk."""
        gather.gather_into(order, self.features[: len(order)], self.labels[: len(order)])

    def copy_to(self, inputs: RowTensors, rows: int) -> None:
        """Copy the chunk into the input tensors."""
        for target, source in zip(inputs, (self.features, self.labels), strict=True):
            target[:rows].copy_(source[:rows])


class _PinnedBuffer(_ChunkBuffer):
    """The buffers of a chunk in pinned host memory and in device memory."""

    def __init__(self, inputs: RowTensors) -> None:
        super().__init__(inputs)
        self._pinned = self.features.pin_memory(), self.labels.pin_memory()
        self.features, self.labels = (torch.empty_like(tensor) for tensor in inputs)
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._sent, self._consumed = (
            torch.cuda.Event()  # type: ignore[no-untyped-call]
            for _ in range(2)
        )
        self._consumed.record()  # after any earlier use of the memory

    def load(self, gather: Gather, order: torch.Tensor) -> None:
        """Gather a chunk and start copying it."""
        rows = len(order)
        pinned = [part[:rows] for part in self._pinned]
        self._sent.synchronize()  # of this buffer's previous chunk: done long ago
        gather.gather_into(order, *pinned)
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._consumed)
            self.features[:rows].copy_(pinned[0], non_blocking=True)
            self.labels[:rows].copy_(pinned[1], non_blocking=True)
            self._sent.record()

    def copy_to(self, inputs: RowTensors, rows: int) -> None:
        """Copy the chunk into the input tensors, after it has arrived on the device."""
        torch.cuda.current_stream().wait_event(self._sent)
        super().copy_to(inputs, rows)
        self._consumed.record()


def _send(
    features: torch.Tensor, scale: Standardisation | None, device: torch.device
) -> torch.Tensor:
    """Standardise rows and send them to the device, a block at a time."""
    sent = torch.empty(features.shape, device=device)
    blocks = (torch.split(whole, _ROWS_AT_ONCE) for whole in (sent, features))
    for target, block in zip(*blocks, strict=True):
        target.copy_(scale.apply(block) if scale else block)
    return sent
