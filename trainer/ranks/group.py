"""What the processes of a fit say to each other: gloo between CPUs, NCCL between CUDA devices.

In and out: tensors and bytes; every call is made by all processes, in the same order. Raises
``UnavailableError`` when a process has gone. Waiting has no limit that a fit could meet: a process
that ends closes its connections, and torchrun ends the others of one that it has lost.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import torch
from torch import distributed

from runtime.errors import UnavailableError
from trainer.ranks.messages import Layout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trainer.ranks.place import Place

_PATIENCE = timedelta(days=7)  # the first may read a large table for hours while the others wait


class Group:
    """The processes of a fit, joined.

    Attributes:
        place: of this process.
    """

    def __init__(self, place: Place) -> None:
        """Wait for all processes.

        Args:
            place: of this process.

        Raises:
            UnavailableError: when they cannot be joined.
        """
        self.place = place
        has_nccl = torch.cuda.is_available() and distributed.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if has_nccl else "gloo"
        with _told("the processes that torchrun started do not find each other"):
            distributed.init_process_group(backend, timeout=_PATIENCE)

    def add_up(self, tensor: torch.Tensor) -> None:
        """Replace a tensor by the sum of all processes' tensors; all get the same bits."""
        with _told():
            distributed.all_reduce(tensor)

    def spread(self, tensor: torch.Tensor) -> None:
        """Replace a tensor on the CPU by that of the leading process."""
        with _told():
            distributed.broadcast(tensor, 0)

    def spread_bytes(self, content: bytes = b"") -> bytes:
        """Give the leading process's bytes to all.

        Args:
            content: of the leading process; of the others it counts for nothing.

        Returns:
            The same bytes everywhere.
        """
        length = torch.tensor(len(content))
        self.spread(length)
        buffer = bytearray(content) if self.place.rank == 0 else bytearray(int(length))
        if buffer:
            self.spread(torch.frombuffer(buffer, dtype=torch.uint8))
        return bytes(buffer)

    def spread_tensors(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Give the leading process's tensors to all.

        Args:
            tensors: by name, on the CPU; of the other processes they count for nothing.

        Returns:
            The same tensors everywhere.
        """
        layouts = [
            Layout(name, str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))
            for name, tensor in tensors.items()
        ]
        content = self.spread_bytes(msgspec.json.encode(layouts))
        received = {}
        for layout in msgspec.json.decode(content, type=list[Layout]):
            if self.place.rank == 0:
                tensor = tensors[layout.name].contiguous()
            else:
                tensor = torch.empty(layout.shape, dtype=getattr(torch, layout.dtype))
            self.spread(tensor)
            received[layout.name] = tensor
        return received

    def collect(self, content: bytes) -> list[bytes]:
        """Give every process's bytes to all.

        Args:
            content: of this process.

        Returns:
            Those of all, by rank.
        """
        lengths = [torch.tensor(0) for _ in range(self.place.size)]
        with _told():
            distributed.all_gather(lengths, torch.tensor(len(content)))
            most = max(1, *map(int, lengths))
            parts = [torch.empty(most, dtype=torch.uint8) for _ in lengths]
            mine = torch.frombuffer(bytearray(content.ljust(most)), dtype=torch.uint8)
            distributed.all_gather(parts, mine)
        return [
            part.numpy().tobytes()[: int(length)]
            for part, length in zip(parts, lengths, strict=True)
        ]

    def leave(self) -> None:
        """Close the connections; threads that live on in them could abort the process's end."""
        distributed.destroy_process_group()


@contextmanager
def _told(what: str = "a process of this fit has gone") -> Iterator[None]:
    """Translate torch's errors of communication, which are all ``RuntimeError``."""
    try:
        yield
    except (RuntimeError, ValueError) as exc:
        first_line = str(exc).partition("\n")[0]
        raise UnavailableError(
            f"{what} ({first_line}): see what torchrun says of it; a checkpoint that is there is "
            "kept, and --resume goes on from it"
        ) from exc
