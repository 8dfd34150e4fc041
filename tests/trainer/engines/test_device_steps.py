from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from trainer.engines.cuda_graph import DeviceSteps
from trainer.engines.prefetch import Gather
from trainer.engines.state import ModelState, TrainingTask, flatten_parameters
from trainer.engines.torchscript import TorchScriptEngine
from trainer.ensemble import Ensemble, create_membership
from trainer.model import SimpleNet

if TYPE_CHECKING:
    from trainer.config import Optimiser

pytestmark = pytest.mark.slow

SIZE, WHOLE, SHORT = 8, 5, 3
ROWS = SIZE * WHOLE + SHORT


def draw_state(optimiser: Optimiser, members: int) -> ModelState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        networks = [SimpleNet(4, 3, (16, 6)) for _ in range(members)]
    return flatten_parameters(networks[0] if members == 1 else Ensemble(networks), optimiser)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_device_steps_match_the_cpu_engine(
    *, optimiser: Optimiser, weight_decay: float, weighted: bool, members: int
) -> None:
    """Weights, moments and losses agree within rounding, over whole batches and a short one.

    Learning rate and count are tensors here, so the update rounds differently.
    """
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(ROWS, 4, generator=generator)
    labels = torch.randint(3, (ROWS,), generator=generator)
    weights = torch.tensor([0.5, 1.0, 3.0]) if weighted else None
    by_class = torch.ones(3) if weights is None else weights
    membership = create_membership(members, 2, by_class) if members > 1 else None
    task = TrainingTask(SIZE, ROWS, weight_decay, weights, membership)
    if membership:
        labels += 3 * (torch.arange(ROWS) % 2)  # strata
    theirs, ours = draw_state(optimiser, members), draw_state(optimiser, members)
    written = TorchScriptEngine(task, theirs, Gather(features, labels, None, ROWS))
    steps = DeviceSteps(task, ours, WHOLE)
    losses = torch.zeros(WHOLE + 1)
    with torch.inference_mode():
        for turn, rate in enumerate((0.05, 0.02)):
            rates = [rate / (1 + step) for step in range(len(losses))]
            written.run(torch.arange(ROWS), losses, learning_rates=rates, done=turn * len(losses))
            steps.features[:ROWS] = features
            steps.labels[:ROWS] = labels
            steps.minus_rates.copy_(-torch.tensor(rates))
            steps.count.fill_(turn * len(losses))
            steps.run(WHOLE, SHORT)
            torch.testing.assert_close(steps.losses, losses, rtol=1e-5, atol=1e-6)
        assert steps.count == 2 * len(losses)
        for name, part in theirs.tensors().items():
            torch.testing.assert_close(ours.tensors()[name], part, rtol=1e-4, atol=1e-6)
