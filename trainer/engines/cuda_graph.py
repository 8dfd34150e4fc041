"""The CUDA engine: steps captured as CUDA graphs.

A kernel of a small network takes less time than its launch, so a graph holds up to 64 steps. The
host shuffles as on the CPU and launches; losses stay on the device until the epoch ends. Learning
rate and step number are tensors on the device, so that a graph serves all epochs. On the CPU, for
tests, the same steps run without a graph.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from runtime.errors import UnavailableError
from runtime.surfaces import option
from trainer.engines import member_step, step
from trainer.engines.prefetch import ResidentRows, StreamedRows
from trainer.engines.state import MemberStepBuffers, StepBuffers, update_vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trainer.engines.prefetch import RowFeed
    from trainer.engines.state import ModelState, TrainingTask
    from trainer.ensemble import Membership
    from trainer.model import Standardisation

_STEPS_PER_GRAPH = 64  # more saves nothing: 64 steps of a dozen kernels share a launch


class CudaGraphEngine:
    """Runs steps on a CUDA device, to the same bits in every run."""

    def __init__(
        self,
        task: TrainingTask,
        state: ModelState,
        rows: tuple[torch.Tensor, torch.Tensor],
        scale: Standardisation | None,
        *,
        streams: bool = False,
    ) -> None:
        """Send the rows to the device, or prepare to stream them."""
        device = state.values.device
        self._size = task.batch_size
        self._steps_per_graph = min(_STEPS_PER_GRAPH, task.rows_per_call // task.batch_size)
        with _out_of_memory_error(device):
            self._steps = DeviceSteps(task, state, self._steps_per_graph)
            kind: type[StreamedRows | ResidentRows] = StreamedRows if streams else ResidentRows
            inputs = self._steps.features, self._steps.labels
            self._feed: RowFeed = kind(rows, scale, inputs)
        self._launches: dict[tuple[int, int], Callable[[], None]] = {}

    @torch.inference_mode()
    def run(
        self,
        order: torch.Tensor,
        losses: torch.Tensor,
        *,
        learning_rates: Sequence[float],
        done: int,
    ) -> None:
        """Run a step for each batch of rows; see ``Engine``."""
        steps = self._steps
        plan = self._plan(len(order))
        for shape in dict.fromkeys(plan):
            if shape not in self._launches:  # in the first epoch only
                self._launches[shape] = self._prepare(*shape)
        minus_rates = self._send_rates(learning_rates)
        steps.count.fill_(done)
        chunks = self._feed.chunks(order, [whole * self._size + short for whole, short in plan])
        first = 0
        for (whole, short), _ in zip(plan, chunks, strict=True):
            count = whole + (short > 0)
            steps.minus_rates[:count].copy_(minus_rates[first : first + count])
            self._launches[whole, short]()
            losses[first : first + count].copy_(steps.losses[:count])
            first += count

    def _send_rates(self, learning_rates: Sequence[float]) -> torch.Tensor:
        """Send the negative learning rates to the device, ``(steps,)`` float32, without waiting."""
        rates, device = torch.tensor(learning_rates).neg_(), self._steps.minus_rates.device
        return rates.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else rates

    def _plan(self, rows: int) -> list[tuple[int, int]]:
        """Divide rows among graphs: the whole batches and the rows of the short batch of each."""
        whole, short = divmod(rows, self._size)
        full, rest = divmod(whole, self._steps_per_graph)
        return [(self._steps_per_graph, 0)] * full + [(rest, short)] * (rest + short > 0)

    def _prepare(self, whole: int, short: int) -> Callable[[], None]:
        """Create the function that launches these steps."""
        if self._steps.features.is_cuda:
            return self._capture(whole, short).replay
        return lambda: self._steps.run(whole, short)

    def _capture(self, whole: int, short: int) -> torch.cuda.CUDAGraph:
        """Capture steps without changing the state."""
        steps = self._steps
        changed = [*steps.vectors, steps.count]
        saved = [tensor.clone() for tensor in changed]
        warm_up = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        warm_up.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(warm_up):  # libraries create their handles and workspaces here
            steps.run(min(whole, 1), short)
        torch.cuda.current_stream().wait_stream(warm_up)
        for tensor, before in zip(changed, saved, strict=True):
            tensor.copy_(before)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            steps.run(whole, short)
        return graph


@contextmanager
def _out_of_memory_error(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as exc:
        total = torch.cuda.get_device_properties(device).total_memory
        raise UnavailableError(
            f"training does not fit into the {total / 2**30:.0f} GiB of "
            f"{torch.cuda.get_device_name(device)}, which other processes may use too: use a "
            f"smaller {option('batch_size')}, or {option('device', 'cpu')}"
        ) from exc


class DeviceSteps:
    """Steps whose inputs all are tensors at fixed addresses, as a CUDA graph requires.

    ``trainer.engines.step`` computes the gradients; the update is here, because a graph treats
    Python numbers as constants. Results are those of ``step`` within rounding.

    Attributes:
        features: ``(rows, n_features)`` float32, to be filled.
        labels: ``(rows,)`` int64, to be filled; of an ensemble the strata.
        losses: of each step, ``(steps,)`` float32, written.
        minus_rates: the negative learning rates, ``(steps,)`` float32; to be filled.
        count: steps completed, ``()`` float64; to be filled, incremented by each step.
        vectors: parameters, gradients and moments, which steps change.
    """

    def __init__(self, task: TrainingTask, state: ModelState, steps: int) -> None:
        """Allocate for ``steps`` whole batches and a short one."""
        self._task, self._state = task, state
        device = state.values.device
        n_features = state.network.linear_layers()[0].weight.shape[-1]
        rows = (steps + 1) * task.batch_size
        self.features = torch.zeros(rows, n_features, device=device)
        self.labels = torch.zeros(rows, dtype=torch.int64, device=device)
        self.losses = torch.zeros(steps + 1, device=device)
        self.minus_rates = torch.zeros(steps + 1, device=device)
        self.count = torch.zeros((), dtype=torch.float64, device=device)
        self.vectors = update_vectors(state)
        self._buffers: dict[int, StepBuffers] = {}
        self._member_buffers: dict[int, MemberStepBuffers] = {}

    def run(self, steps: int, short: int) -> None:
        """Run steps on the first rows: whole batches, then one of ``short`` rows unless 0."""
        size, membership = self._task.batch_size, self._task.membership
        for index, rows in enumerate([size] * steps + [short] * (short > 0)):
            span = slice(index * size, index * size + rows)
            batch = [self.features[span], self.labels[span], self.losses[index]]
            if membership:
                self._compute_member_gradients(batch, membership)
            else:
                self._compute_gradients(batch)
            self.count.add_(1)
            if self._state.moments:
                self._update_adamw(self.minus_rates[index])
            else:
                self._update_sgd(self.minus_rates[index])

    def _compute_gradients(self, batch: list[torch.Tensor]) -> None:
        rows, weights = len(batch[0]), self._task.class_weights
        if rows not in self._buffers:
            self._buffers[rows] = StepBuffers(self._state, rows)
        buffers = self._buffers[rows]
        step.compute_gradients(batch, buffers.layers, buffers.loss_buffers, weights)

    def _compute_member_gradients(self, batch: list[torch.Tensor], membership: Membership) -> None:
        features, strata, loss = batch
        rows = len(features)
        if rows not in self._member_buffers:
            self._member_buffers[rows] = MemberStepBuffers(self._state, rows)
        buffers, strata = self._member_buffers[rows], strata[None]
        targets, shares = membership.targets(strata)[0], membership.shares(strata)[0]
        member_step.compute_member_gradients(
            [features, targets, shares, loss], buffers.first, buffers.layers, buffers.loss_buffers
        )
        loss.div_(membership.members)

    def _update_sgd(self, minus_rate: torch.Tensor) -> None:
        parameters, gradients = self.vectors
        if self._task.weight_decay:
            gradients.add_(parameters, alpha=self._task.weight_decay)
        parameters.addcmul_(gradients, minus_rate)

    def _update_adamw(self, minus_rate: torch.Tensor) -> None:
        parameters, gradients, first, second, scratch = self.vectors
        if self._task.weight_decay:
            parameters.mul_(minus_rate * self._task.weight_decay + 1)
        first.lerp_(gradients, 1 - 0.9)
        second.mul_(0.999).addcmul_(gradients, gradients, value=1 - 0.999)
        torch.sqrt(second, out=scratch)
        scratch.div_((1 - 0.999**self.count).sqrt()).add_(1e-8)
        torch.div(first, scratch, out=scratch)
        parameters.addcmul_(scratch, (minus_rate / (1 - 0.9**self.count)).float())
