from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from trainer.data.preprocessing import fit_standardisation
from trainer.engines import create_engine
from trainer.engines.state import ALIGNMENT, ModelState, TrainingTask, flatten_parameters
from trainer.model import SimpleNet, Standardisation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trainer.config import Optimiser
    from trainer.engines import EngineName

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Problem:
    """A small training problem."""

    rows: int
    widths: tuple[int, ...]
    batch_size: int
    optimiser: Optimiser
    weight_decay: float
    weighted: bool
    standardised: bool
    seed: int

    def draw(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and labels; the last class may be absent."""
        generator = torch.Generator().manual_seed(self.seed)
        features = torch.randn(self.rows, self.widths[0], generator=generator) * 3 + 1
        return features, torch.randint(self.widths[-1], (self.rows,), generator=generator)

    def network(self) -> SimpleNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return SimpleNet(self.widths[0], self.widths[-1], self.widths[1:-1])

    def scale(self) -> Standardisation | None:
        return fit_standardisation(self.draw()[0]) if self.standardised else None

    def class_weights(self) -> torch.Tensor | None:
        return torch.rand(self.widths[-1], generator=torch.Generator().manual_seed(7)) + 0.1

    def task(self) -> TrainingTask:
        weights = self.class_weights() if self.weighted else None
        return TrainingTask(self.batch_size, 3 * self.batch_size, self.weight_decay, weights)

    def rates(self, rate: float, done: int, steps: int) -> list[float]:
        """Learning rates of steps; of half of the problems they change from step to step."""
        changing = self.seed % 2
        return [rate / (1 + changing * step) for step in range(done, done + steps)]

    def orders(self) -> list[torch.Tensor]:
        """The row orders of two epochs."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        return [torch.randperm(self.rows, generator=generator).int() for _ in range(2)]


problems = st.builds(
    Problem,
    rows=st.integers(1, 400),
    widths=st.lists(st.integers(1, 140), min_size=2, max_size=5)
    .map(tuple)
    .filter(lambda widths: widths[-1] > 1),
    batch_size=st.integers(1, 300),
    optimiser=st.sampled_from(("sgd", "adamw")),
    weight_decay=st.sampled_from((0.0, 0.01, 0.3)),
    weighted=st.booleans(),
    standardised=st.booleans(),
    seed=st.integers(0, 2**32),
)

RATES = (0.1, 0.037)  # of the two epochs


def fit_plainly(problem: Problem) -> tuple[nn.Module, list[float]]:
    """Train by plain autograd and torch.optim, without engines."""
    network, (features, labels) = problem.network(), problem.draw()
    scale, weights = problem.scale(), problem.task().class_weights
    features = scale.apply(features) if scale else features
    criterion = nn.CrossEntropyLoss(weight=weights)
    kind = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[problem.optimiser]
    optimiser = kind(network.parameters(), lr=RATES[0], weight_decay=problem.weight_decay)
    losses: list[float] = []
    for order, rate in zip(problem.orders(), RATES, strict=True):
        for rows in torch.split(order.long(), problem.batch_size):
            (optimiser.param_groups[0]["lr"],) = problem.rates(rate, len(losses), 1)
            optimiser.zero_grad()
            loss = criterion(network(features[rows]), labels[rows])
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
    return network, losses


def fit_by(name: EngineName, problem: Problem) -> tuple[ModelState, list[float]]:
    state = flatten_parameters(problem.network(), problem.optimiser)
    engine = create_engine(name, problem.task(), state, problem.draw(), problem.scale())
    losses, done = [], 0
    for order, rate in zip(problem.orders(), RATES, strict=True):
        for part in torch.split(order, problem.task().rows_per_call):
            written = torch.zeros(math.ceil(len(part) / problem.batch_size))
            rates = problem.rates(rate, done, len(written))
            engine.run(part, written, learning_rates=rates, done=done)
            losses += written.tolist()
            done += len(written)
    return state, losses


def bits(module: nn.Module) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in module.parameters()]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in training."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@settings(max_examples=200)
@given(problem=problems)
def test_the_cpu_engine_equals_autograd_bit_for_bit(problem: Problem) -> None:
    """Weights and losses equal those of autograd and torch.optim, whatever the shapes."""
    network, losses = fit_plainly(problem)
    state, ours = fit_by("fast", problem)
    assert bits(state.network) == bits(network)
    assert [loss.hex() for loss in ours] == [loss.hex() for loss in losses]


@settings(max_examples=50)
@given(problem=problems)
def test_the_reference_engine_equals_plain_torch(problem: Problem) -> None:
    """The eager engine gives the bits of autograd and torch.optim with new batches."""
    aligned = problem.batch_size * problem.widths[0] % ALIGNMENT == 0
    assume(aligned or problem.rows <= problem.batch_size)
    network, losses = fit_plainly(problem)
    state, theirs = fit_by("eager", problem)
    assert bits(state.network) == bits(network)
    assert theirs == losses


def test_a_state_round_trips() -> None:
    """Weights and both moments are stored by name and restored into the vectors."""
    network = SimpleNet(3, 2, (5,))
    state = flatten_parameters(network, "adamw")
    for vector in (state.values, *state.moments.values()):
        vector.normal_(generator=torch.Generator().manual_seed(1))
    stored = {name: part.clone() for name, part in state.tensors().items()}
    other = flatten_parameters(SimpleNet(3, 2, (5,)), "adamw")
    other.restore(stored)
    assert len(stored) == 3 * 4
    assert bits(other.network) == bits(network)
    for name, part in other.tensors().items():
        assert torch.equal(part, stored[name])
