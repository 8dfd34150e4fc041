from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import configure
from trainer.data import training_data
from trainer.data.preprocessing import fit_standardisation
from trainer.data.products import synthetic_products
from trainer.engines.cuda_graph import CudaGraphEngine, DeviceSteps
from trainer.engines.prefetch import ResidentRows, StreamedRows
from trainer.engines.state import ModelState, TrainingTask, flatten_parameters
from trainer.fit import fit
from trainer.model import SimpleNet
from trainer.seeds import shuffle_rows

if TYPE_CHECKING:
    from trainer.config import Optimiser

pytestmark = pytest.mark.slow

N_FEATURES, CLASSES = 5, 3


def draw_state(optimiser: Optimiser) -> ModelState:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return flatten_parameters(SimpleNet(N_FEATURES, CLASSES, (8,)), optimiser)


def draw_table(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    features = 3 + 5 * torch.randn(rows, N_FEATURES, generator=generator)
    return features, torch.randint(CLASSES, (rows,), generator=generator)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 400),
    size=st.integers(1, 40),
    steps=st.integers(1, 4),
    optimiser=st.sampled_from(["sgd", "adamw"]),
    standardise=st.booleans(),
)
def test_streaming_changes_no_bit(
    *, rows: int, size: int, steps: int, optimiser: Optimiser, standardise: bool
) -> None:
    """Streamed rows give the weights, moments and losses of resident rows.

    Chunks have at most ``steps`` batches, so that there are many; the last may be short.
    """
    table, size = draw_table(rows), min(size, rows)
    scale = fit_standardisation(table[0]) if standardise else None
    task = TrainingTask(size, steps * size, 0.01, torch.tensor([0.5, 1.0, 3.0]))
    ended: list[list[bytes]] = []
    for streams in (False, True):
        state = draw_state(optimiser)
        engine = CudaGraphEngine(task, state, table, scale, streams=streams)
        losses = torch.zeros(2, -(-rows // size))
        for epoch in range(2):
            done = 0
            for part in torch.split(shuffle_rows(1, epoch, rows), 3 * task.rows_per_call):
                made = losses[epoch, done:][: -(-len(part) // size)]
                before = epoch * losses.shape[1] + done
                rates = [0.05 / (1 + step) for step in range(before, before + len(made))]
                engine.run(part, made, learning_rates=rates, done=before)
                done += len(made)
        ended.append([part.numpy().tobytes() for part in (losses, *state.tensors().values())])
    assert ended[0] == ended[1]


@pytest.mark.parametrize("kind", [ResidentRows, StreamedRows])
def test_rows_arrive_in_order_chunk_by_chunk(kind: type[ResidentRows | StreamedRows]) -> None:
    """Each chunk is in the input tensors in its turn, until the next is requested."""
    table = draw_table(20)
    steps = DeviceSteps(TrainingTask(3, 6, 0.0, None), draw_state("sgd"), 2)
    inputs = steps.features, steps.labels
    order = shuffle_rows(1, 0, 20)
    seen = 0
    for count, _ in zip([6, 6, 8], kind(table, None, inputs).chunks(order, [6, 6, 8]), strict=True):
        here = order[seen : seen + count]
        assert torch.equal(steps.features[:count], table[0][here])
        assert torch.equal(steps.labels[:count], table[1][here])
        seen += count
    assert list(kind(table, None, inputs).chunks(order[:0], [])) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_table_larger_than_the_device_streams(
    monkeypatch: pytest.MonkeyPatch, optimiser: Optimiser
) -> None:
    """Decided by the free memory, with a reason; the same bits as with resident rows."""
    dataset = synthetic_products(4, train_rows=100_010, test_rows=1000)
    configuration = configure(
        epochs=2, batch_size=64, optimiser=optimiser, learning_rate=0.01, validation=0.1
    )
    resident = fit(dataset, configuration, device="cuda")
    monkeypatch.setattr(training_data, "free_memory", lambda: 1000)
    streamed = fit(dataset, configuration, device="cuda")
    assert resident.streaming == ""
    assert "stream" in streamed.streaming
    assert streamed.last.losses == resident.last.losses
    for one, other in zip(resident.model.parameters(), streamed.model.parameters(), strict=True):
        assert torch.equal(one, other)
