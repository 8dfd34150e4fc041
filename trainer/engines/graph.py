"""The engine of CUDA: ``trainer.engines.step`` captured as graphs.

A kernel of a small network takes less time than its launch. A graph holds the kernels of many
steps, to the whole epoch where it has few, and is launched as one. Rows lie on the device,
standardised once, or stream through it (``trainer.engines.feeds``). The host draws the order, the
same as on the CPU, sends it ahead and launches; losses stay in a buffer on the device, and nothing
is read before the epoch ends. With rows on the device the host never waits.
The last batch, with fewer rows, is part of a second graph; no row is dropped or made up.

The learning rate and the number of the step are tensors on the device, so that a graph is good
for all epochs. On the CPU the same steps are made without a graph; that is for tests. Raises
``UnavailableError`` when the device's memory is too small all the same.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from runtime.errors import UnavailableError
from trainer.engines.device_steps import DeviceSteps
from trainer.engines.feeds import Resident, Streamed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trainer.engines.feeds import Feed
    from trainer.engines.state import State
    from trainer.engines.task import Task
    from trainer.standardise import Standardisation

_STEPS_A_GRAPH = 64  # more saves nothing: a launch is shared by 64 steps of a dozen kernels


class Graph:
    """Makes steps on a CUDA device, to the same bits in every run."""

    def __init__(
        self,
        task: Task,
        state: State,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
        *,
        streams: bool = False,
    ) -> None:
        """Bring the rows to the device, or prepare to.

        Args:
            task: batch size, weights of classes, weight decay.
            state: on the device; is changed in place.
            rows: features ``(rows, n_features)`` float32, raw, and labels, on the CPU.
            scale: what standardises a row; None leaves rows raw.
            streams: whether the rows stay on the host and come chunk by chunk.

        Raises:
            UnavailableError: when the device's memory is too small.
        """
        device = state.values.device
        self._size = task.batch_size
        self._most = min(_STEPS_A_GRAPH, task.rows_at_once // task.batch_size)
        with _memory_of(device):
            self._steps = DeviceSteps(task, state, self._most)
            kind: type[Streamed | Resident] = Streamed if streams else Resident
            self._feed: Feed = kind(rows, scale, self._steps)
        self._launches: dict[tuple[int, int], Callable[[], None]] = {}

    @torch.inference_mode()
    def run(
        self, order: torch.Tensor, losses: torch.Tensor, *, learning_rate: float, done: int
    ) -> None:
        """Make a step for each batch of rows.

        Args:
            order: positions of rows, ``(rows,)`` on the CPU; only the last batch may be short.
            losses: the mean loss of each batch before its step is written here, ``(steps,)``
                on the device.
            learning_rate: of these steps.
            done: steps made before these.
        """
        steps = self._steps
        plan = self._plan(len(order))
        for shape in dict.fromkeys(plan):
            if shape not in self._launches:  # in the first epoch alone
                self._launches[shape] = self._prepare(*shape)
        steps.minus_rate.fill_(-learning_rate)
        steps.count.fill_(done)
        chunks = self._feed.bring(order, [whole * self._size + short for whole, short in plan])
        first = 0
        for (whole, short), _ in zip(plan, chunks, strict=True):
            self._launches[whole, short]()
            made = whole + (short > 0)
            losses[first : first + made].copy_(steps.losses[:made])
            first += made

    def _plan(self, rows: int) -> list[tuple[int, int]]:
        """Share out rows among graphs: whole batches of each, and rows of a short one."""
        whole, short = divmod(rows, self._size)
        full, rest = divmod(whole, self._most)
        return [(self._most, 0)] * full + [(rest, short)] * (rest + short > 0)

    def _prepare(self, whole: int, short: int) -> Callable[[], None]:
        """Make what launches these steps."""
        if self._steps.features.is_cuda:
            return self._capture(whole, short).replay
        return lambda: self._steps.make(whole, short)

    def _capture(self, whole: int, short: int) -> torch.cuda.CUDAGraph:
        """Record steps; nothing is changed by that."""
        steps = self._steps
        changed = [*steps.vectors, steps.count]
        kept = [tensor.clone() for tensor in changed]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries make their handles and workspaces here
            steps.make(min(whole, 1), short)
        torch.cuda.current_stream().wait_stream(aside)
        for tensor, before in zip(changed, kept, strict=True):
            tensor.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            steps.make(whole, short)
        return graph


@contextmanager
def _memory_of(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as exc:
        total = torch.cuda.get_device_properties(device).total_memory
        raise UnavailableError(
            f"this fit does not find room in the {total / 2**30:.0f} GiB of "
            f"{torch.cuda.get_device_name(device)}, which others may use too: give a smaller "
            "--batch-size, or use --device cpu"
        ) from exc
