"""The engine of CUDA: ``trainer.engines.step`` captured as graphs.

A kernel of a small network takes less time than its launch. A graph holds the kernels of many
steps, to the whole epoch where it has few, and is launched as one. Rows lie on the device,
standardised once. The host draws the order, the same as on the CPU, sends it ahead and launches;
it never waits: losses stay in a buffer on the device, and nothing is read before the epoch ends.
The last batch, with fewer rows, is part of a second graph; no row is dropped or made up.

The learning rate and the number of the step are tensors on the device, so that a graph is good
for all epochs. Raises ``UnavailableError`` when the rows do not fit into the device's memory.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from runtime.errors import UnavailableError
from trainer.engines import step
from trainer.engines.buffers import Buffers, vectors_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.engines.state import State
    from trainer.engines.task import Task
    from trainer.standardise import Standardisation

_STEPS_A_GRAPH = 64  # more saves nothing: a launch is shared by 64 steps of a dozen kernels
_ROWS_AT_ONCE = 2**18  # standardised in float64 at once, on their way to the device


class Graph:
    """Makes steps on a CUDA device, to the same bits in every run."""

    def __init__(
        self,
        task: Task,
        state: State,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
    ) -> None:
        """Bring the rows to the device.

        Args:
            task: batch size, weights of classes, weight decay.
            state: on the device; is changed in place.
            rows: features ``(rows, n_features)`` float32, raw, and labels, on the CPU.
            scale: what standardises a row; None leaves rows raw.

        Raises:
            UnavailableError: when the device's memory is too small.
        """
        self._task, self._state = task, state
        features, labels = rows
        device, size = state.values.device, task.batch_size
        most = min(_STEPS_A_GRAPH * size, task.rows_at_once)
        self._steps_a_graph = most // size
        with _memory_of(device):
            self._features = _send(features, scale, device)  # (rows, n_features)
            self._labels = labels.to(device)  # (rows,)
            # What a graph reads and writes: rows of its steps, and their losses.
            self._batches = torch.empty(most + size, features.shape[1], device=device)
            self._targets = torch.empty(most + size, dtype=torch.int64, device=device)
            self._losses = torch.empty(self._steps_a_graph + 1, device=device)
            self._vectors = vectors_of(state)
        self._minus_rate = torch.zeros((), device=device)
        self._count = torch.zeros((), dtype=torch.float64, device=device)  # steps made
        self._buffers: dict[int, Buffers] = {}
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}

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
        size, most = self._task.batch_size, self._steps_a_graph
        positions = order.pin_memory().to(losses.device, non_blocking=True)  # (rows,)
        whole, tail = divmod(len(order), size)
        plan = [(most, 0)] * (whole // most)
        if whole % most or tail:
            plan.append((whole % most, tail))
        self._prepare(plan)
        self._minus_rate.fill_(-learning_rate)
        self._count.fill_(done)
        row, first = 0, 0
        for steps, short in plan:
            here = positions[row : row + steps * size + short]
            torch.index_select(self._features, 0, here, out=self._batches[: len(here)])
            torch.index_select(self._labels, 0, here, out=self._targets[: len(here)])
            self._graphs[steps, short].replay()
            made = steps + (short > 0)
            losses[first : first + made].copy_(self._losses[:made])
            row, first = row + len(here), first + made

    def _prepare(self, plan: list[tuple[int, int]]) -> None:
        """Capture the graphs that a plan lacks; in all epochs but the first there are none."""
        for steps, short in dict.fromkeys(plan):
            if (steps, short) not in self._graphs:
                self._graphs[steps, short] = self._capture(steps, short)

    def _capture(self, steps: int, short: int) -> torch.cuda.CUDAGraph:
        """Record whole batches and a short one; nothing is changed by that."""
        self._targets.zero_()  # a warm-up on labels that are none would stop the device
        kept = [vector.clone() for vector in self._vectors]
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries make their handles and workspaces here
            self._make_steps(min(steps, 1), short)
        torch.cuda.current_stream().wait_stream(aside)
        for vector, before in zip(self._vectors, kept, strict=True):
            vector.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._make_steps(steps, short)
        return graph

    def _make_steps(self, steps: int, short: int) -> None:
        """Make steps on the rows in ``_batches``, the last with ``short`` rows if it is not 0."""
        size = self._task.batch_size
        for index, rows in enumerate([size] * steps + [short] * (short > 0)):
            if rows not in self._buffers:
                self._buffers[rows] = Buffers(self._state, rows)
            buffers, first = self._buffers[rows], index * size
            batch = self._batches[first : first + rows], self._targets[first : first + rows]
            step.find_gradients(
                [*batch, self._losses[index]],
                buffers.layers,
                buffers.heads,
                self._task.class_weights,
            )
            self._update()

    def _update(self) -> None:
        """Do what ``step`` does, with rate and count on the device."""
        decay = self._task.weight_decay
        self._count.add_(1)
        if not self._state.moments:
            parameters, gradients = self._vectors
            if decay:
                gradients.add_(parameters, alpha=decay)
            parameters.addcmul_(gradients, self._minus_rate)
            return
        parameters, gradients, first, second, scratch = self._vectors
        if decay:
            parameters.mul_(self._minus_rate * decay + 1)
        first.lerp_(gradients, 1 - 0.9)
        second.mul_(0.999).addcmul_(gradients, gradients, value=1 - 0.999)
        torch.sqrt(second, out=scratch)
        scratch.div_((1 - 0.999**self._count).sqrt()).add_(1e-8)
        torch.div(first, scratch, out=scratch)
        parameters.addcmul_(scratch, (self._minus_rate / (1 - 0.9**self._count)).float())


def _send(
    features: torch.Tensor, scale: Standardisation | None, device: torch.device
) -> torch.Tensor:
    """Standardise rows on their way to the device, a block at a time."""
    sent = torch.empty(features.shape, device=device)
    blocks = (torch.split(whole, _ROWS_AT_ONCE) for whole in (sent, features))
    for there, here in zip(*blocks, strict=True):
        there.copy_(scale.apply(here) if scale else here)
    return sent


@contextmanager
def _memory_of(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as exc:
        total = torch.cuda.get_device_properties(device).total_memory
        raise UnavailableError(
            f"the rows do not fit into the {total / 2**30:.0f} GiB of "
            f"{torch.cuda.get_device_name(device)}: use --device cpu, or fewer rows"
        ) from exc
