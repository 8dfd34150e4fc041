from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.config import configure
from trainer.data import synthetic_products
from trainer.engines.device_steps import DeviceSteps
from trainer.engines.feeds import Resident, Streamed
from trainer.engines.graph import Graph
from trainer.engines.state import State, lay_out
from trainer.engines.task import Task
from trainer.fit import fit
from trainer.model import SimpleNet
from trainer.order import row_order
from trainer.standardise import measure

if TYPE_CHECKING:
    from trainer.config import Optimiser

N_FEATURES, CLASSES = 5, 3


def draw_state(optimiser: Optimiser) -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return lay_out(SimpleNet(N_FEATURES, CLASSES, (8,)), optimiser)


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
    """Epochs of chunks from the host end with the weights, moments and losses of a resident table.

    Chunks are of at most ``steps`` batches, so that there are many; the last may be short.
    """
    table, size = draw_table(rows), min(size, rows)
    scale = measure(table[0]) if standardise else None
    task = Task(size, steps * size, 0.01, torch.tensor([0.5, 1.0, 3.0]))
    ended: list[list[bytes]] = []
    for streams in (False, True):
        state = draw_state(optimiser)
        engine = Graph(task, state, table, scale, streams=streams)
        losses = torch.zeros(2, -(-rows // size))
        for epoch in range(2):
            done = 0
            for part in torch.split(row_order(1, epoch, rows), 3 * task.rows_at_once):
                made = losses[epoch, done:][: -(-len(part) // size)]
                engine.run(part, made, learning_rate=0.05, done=epoch * losses.shape[1] + done)
                done += len(made)
        ended.append([part.numpy().tobytes() for part in (losses, *state.tensors().values())])
    assert ended[0] == ended[1]


@pytest.mark.parametrize("kind", [Resident, Streamed])
def test_rows_come_in_their_order_chunk_by_chunk(kind: type[Resident | Streamed]) -> None:
    """Each chunk is where steps take it when it is its turn, and stays until the next is asked."""
    table = draw_table(20)
    steps = DeviceSteps(Task(3, 6, 0.0, None), draw_state("sgd"), 2)
    order = row_order(1, 0, 20)
    seen = 0
    for count, _ in zip([6, 6, 8], kind(table, None, steps).bring(order, [6, 6, 8]), strict=True):
        here = order[seen : seen + count]
        assert torch.equal(steps.features[:count], table[0][here])
        assert torch.equal(steps.labels[:count], table[1][here])
        seen += count
    assert list(kind(table, None, steps).bring(order[:0], [])) == []


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_a_table_larger_than_the_device_streams(
    monkeypatch: pytest.MonkeyPatch, optimiser: Optimiser
) -> None:
    """By the memory that is free; said in words; the bits are those of a table on the device."""
    dataset = synthetic_products(4, train_rows=100_010, test_rows=1000)
    configuration = configure(
        epochs=2, batch_size=64, optimiser=optimiser, learning_rate=0.01, validation=0.1
    )
    resident = fit(dataset, configuration, device="cuda")
    monkeypatch.setattr("trainer.placement.free_memory", lambda: 1000)
    streamed = fit(dataset, configuration, device="cuda")
    assert resident.streaming == ""
    assert "stream" in streamed.streaming
    assert streamed.last.losses == resident.last.losses
    for one, other in zip(resident.model.parameters(), streamed.model.parameters(), strict=True):
        assert torch.equal(one, other)
