"""CUDA graphs against the CPU and against themselves; skipped where there is no device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from trainer.config import Configuration, configure
from trainer.data.products import synthetic_products
from trainer.fit import fit

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]

CONFIGURATIONS = {
    "tail": configure(epochs=3, seed=4),
    "no tail": configure(epochs=3, seed=4, batch_size=50),
    "many graphs": configure(epochs=2, seed=4, batch_size=3),
    "adamw": configure(epochs=3, optimiser="adamw", learning_rate=0.01, weight_decay=0.01),
    "ensemble": configure(
        epochs=3, members=3, folds=3, optimiser="adamw", learning_rate=0.01, calibrate=True
    ),
    "all options": configure(
        epochs=4, validation=0.2, class_weights="balanced", schedule="cosine", hidden=(16, 8)
    ),
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_graphs_agree_with_the_cpu(configuration: Configuration) -> None:
    """Same row order, no TF32: weights differ only by the order of summation."""
    dataset = synthetic_products(4, train_rows=810)
    on_cpu = fit(dataset, configuration)
    on_cuda = [fit(dataset, configuration, device="cuda") for _ in range(2)]
    for one, other, cpu in zip(
        *(fitted.model.parameters() for fitted in (*on_cuda, on_cpu)), strict=True
    ):
        assert torch.equal(one, other)
        torch.testing.assert_close(one, cpu, rtol=1e-3, atol=1e-4)
    assert on_cuda[0].last.losses == pytest.approx(on_cpu.last.losses, rel=1e-3, abs=1e-5)


def test_eager_and_graphs_agree_on_the_device() -> None:
    """Autograd and torch.optim on the same GPU."""
    dataset, configuration = synthetic_products(4), configure(epochs=3)
    eager = fit(dataset, configuration, device="cuda", engine="eager")
    graphs = fit(dataset, configuration, device="cuda")
    for one, other in zip(eager.model.parameters(), graphs.model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_no_step_synchronises_with_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is read between the ends of two epochs, whatever the number of steps."""
    from trainer.engines.cuda_graph import CudaGraphEngine

    run, calls = CudaGraphEngine.run, []

    def run_without_waiting(self: CudaGraphEngine, *arguments: object, **options: object) -> None:
        calls.append(1)
        if len(calls) > 1:  # graphs are captured in the first call, which synchronises
            torch.cuda.set_sync_debug_mode("error")
        try:
            run(self, *arguments, **options)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(CudaGraphEngine, "run", run_without_waiting)
    epochs: list[Epoch] = []
    fit(synthetic_products(1), configure(epochs=3), device="cuda", on_epoch_end=epochs.append)
    assert len(calls) == 3
    assert epochs[-1].accuracy > 0.9
