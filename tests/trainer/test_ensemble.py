from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from runtime.errors import UsageError
from trainer.config import Options, configure
from trainer.data.preprocessing import fit_standardisation
from trainer.data.products import synthetic_products
from trainer.data.splits import split_folds
from trainer.data.training_data import prepare_training_data
from trainer.engines import create_engine
from trainer.engines.deployment import Deployment
from trainer.engines.state import TrainingTask, flatten_parameters
from trainer.ensemble import Ensemble, create_membership
from trainer.evaluation.out_of_fold import OutOfFoldRows
from trainer.fit import fit, init_network
from trainer.model import SimpleNet
from trainer.pipeline import make_run
from trainer.run import load_run
from trainer.session import SaveOptions

if TYPE_CHECKING:
    from pathlib import Path

    from trainer.checkpoint.state import Epoch
    from trainer.engines import EngineName
    from trainer.engines.state import ModelState

N_FEATURES, CLASSES = 4, 3
hidden_widths = st.lists(st.integers(1, 20), max_size=3).map(tuple)


def draw_members(count: int, hidden: tuple[int, ...], seed: int = 1) -> list[SimpleNet]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return [SimpleNet(N_FEATURES, CLASSES, hidden) for _ in range(count)]


def draw_rows(rows: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(rows, N_FEATURES, generator=generator) * 3 + 1
    return features, torch.randint(CLASSES, (rows,), generator=generator)


@settings(max_examples=25)
@given(
    members=st.integers(2, 5),
    folds=st.integers(0, 5),
    hidden=hidden_widths,
    size=st.integers(1, 40),
    is_weighted=st.booleans(),
)
def test_members_learn_as_if_alone(
    *, members: int, folds: int, hidden: tuple[int, ...], size: int, is_weighted: bool
) -> None:
    """Each is the network that torch trains on the same batches without the rows it leaves out."""
    folds = 0 if folds < 2 else min(folds, members)
    networks, (features, labels) = draw_members(members, hidden), draw_rows(90)
    weights = torch.tensor([0.5, 1.0, 3.0]) if is_weighted else torch.ones(CLASSES)
    fold_of_row = split_folds(labels, folds, 1) if folds else torch.zeros_like(labels)
    state = flatten_parameters(Ensemble(networks), "sgd")
    task = TrainingTask(size, 2 * size, 0.01, None, create_membership(members, folds, weights))
    table = features, fold_of_row * CLASSES + labels
    engine, order = create_engine("fast", task, state, table, None), torch.arange(90)
    losses, done = torch.zeros(-(-90 // size)), 0
    for part in torch.split(order, task.rows_per_call):
        written = losses[done : done + -(-len(part) // size)]
        engine.run(part, written, learning_rates=[0.1] * len(written), done=done)
        done += len(written)
    expected = torch.zeros_like(losses)
    for member, network in enumerate(networks):
        optimiser = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.01)
        for step, batch in enumerate(torch.split(order, size)):
            rows = batch if not folds else batch[fold_of_row[batch] != member % folds]
            optimiser.zero_grad()
            loss = network(features[batch]).sum() * 0  # where no row counts
            if len(rows):
                loss = functional.cross_entropy(network(features[rows]), labels[rows], weights)
            loss.backward()
            expected[step] += loss.detach() / members
            optimiser.step()
        trained = state.views(state.values).values()
        for theirs, parameter in zip(trained, network.parameters(), strict=True):
            ours = theirs[member].view_as(parameter)
            torch.testing.assert_close(ours, parameter, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses, expected, rtol=1e-4, atol=1e-5)


def train(name: EngineName, state: ModelState, task: TrainingTask, rows: int) -> torch.Tensor:
    """Two epochs; returns the losses."""
    features, labels = draw_rows(rows)
    strata = CLASSES * (torch.arange(rows) % 2) + labels
    engine = create_engine(name, task, state, (features, strata), fit_standardisation(features))
    losses = torch.zeros(2, -(-rows // task.batch_size))
    for epoch, written in enumerate(losses):
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(epoch)).int()
        rates = [0.03 / (1 + step) for step in range(len(written))]
        engine.run(order, written, learning_rates=rates, done=epoch * len(written))
    return losses


@settings(max_examples=50)
@given(
    members=st.integers(2, 6),
    hidden=st.lists(st.integers(1, 140), max_size=2).map(tuple),
    rows=st.integers(1, 200),
    size=st.integers(1, 150),
    is_adamw=st.booleans(),
)
def test_the_cpu_engine_equals_autograd_bit_for_bit(
    *, members: int, hidden: tuple[int, ...], rows: int, size: int, is_adamw: bool
) -> None:
    """Weights and losses equal those of autograd and torch.optim on the same forward pass."""
    size, weights, ended = min(size, rows), torch.tensor([0.5, 1.0, 3.0]), []
    task = TrainingTask(size, rows, 0.01, None, create_membership(members, 2, weights))
    names: tuple[EngineName, ...] = ("fast", "eager")
    for name in names:
        network = Ensemble(draw_members(members, hidden))
        state = flatten_parameters(network, "adamw" if is_adamw else "sgd")
        losses = train(name, state, task, rows)
        ended.append((losses.numpy().tobytes(), state.values.numpy().tobytes()))
    assert ended[0] == ended[1]


@given(members=st.integers(2, 5), hidden=hidden_widths, temperature=st.floats(0.3, 9))
def test_the_deployed_network_computes_the_mean_of_the_members(
    members: int, hidden: tuple[int, ...], temperature: float
) -> None:
    """Standardisation and temperature included, within float32's rounding."""
    networks, (features, _) = draw_members(members, hidden), draw_rows(50)
    scale = fit_standardisation(features)
    state = flatten_parameters(Ensemble(networks), "sgd")
    deployed = Deployment(state, scale).update(temperature)
    widths = [layer.in_features for layer in deployed.linear_layers()[1:]]
    assert widths == [width * members for width in hidden]
    with torch.no_grad():
        exact = (features.double() - scale.mean) / scale.std
        mean = torch.stack([network.double()(exact) for network in networks]).mean(dim=0)
        torch.testing.assert_close(
            deployed(features).double(), mean / temperature, rtol=1e-4, atol=2e-5
        )


def test_the_first_member_starts_as_a_single_network() -> None:
    """The others are drawn after it."""
    dataset = synthetic_products(1)
    single = init_network(dataset, configure())
    ensemble = init_network(dataset, configure(members=3))
    for members, parameter in zip(ensemble.parameters(), single.parameters(), strict=True):
        assert torch.equal(members[0].view_as(parameter), parameter)
        assert not torch.equal(members[1].view_as(parameter), parameter)


@given(
    labels=st.lists(st.integers(0, 3), min_size=6, max_size=100),
    folds=st.integers(2, 6),
    seed=st.integers(0, 2**40),
)
def test_folds_are_stratified(labels: list[int], folds: int, seed: int) -> None:
    """Numbers of rows differ by one at most, in each class and in all; the same for a seed."""
    tensor = torch.tensor(labels)
    fold_of_row = split_folds(tensor, folds, seed)
    for rows in (fold_of_row, *(fold_of_row[tensor == label] for label in set(labels))):
        counts = rows.bincount(minlength=folds)
        assert len(counts) == folds
        assert counts.max() - counts.min() <= 1
    assert torch.equal(split_folds(tensor, folds, seed), fold_of_row)


@pytest.mark.parametrize(("members", "folds"), [(3, 3), (6, 3), (5, 2)])
def test_only_members_that_left_a_row_out_score_it(members: int, folds: int) -> None:
    """Members that saw all rows of a fold have logits that would make the score wrong."""
    dataset = synthetic_products(1, train_rows=100)
    rows = prepare_training_data(dataset, configure(members=members, folds=folds), "cpu")
    assert rows.folds is not None
    rows.labels[:] = rows.folds % 2  # the class is that of the fold, and no feature tells it
    networks = [SimpleNet(2, 2, ()) for _ in range(members)]
    for member, network in enumerate(networks):
        right = member % folds % 2
        for layer in network.linear_layers():
            torch.nn.init.zeros_(layer.weight)
            with torch.no_grad():
                layer.bias.copy_(torch.tensor([9.0, 0.0] if right == 0 else [0.0, 9.0]))
    scores = OutOfFoldRows(rows, rows.folds).evaluate(Ensemble(networks), calibrate=False)
    assert scores.accuracy == 1.0
    assert scores.loss == pytest.approx(1.2e-4, rel=0.1)


def test_rows_left_out_do_not_influence_a_member() -> None:
    """Of noise that the members learn by heart, rows out of fold are guessed."""
    dataset = synthetic_products(1, train_rows=300)
    generator = torch.Generator().manual_seed(1)
    dataset.rows.train_labels[:] = torch.randint(2, (300,), generator=generator)
    epochs: list[Epoch] = []
    options = Options(members=3, folds=3, optimiser="adamw", learning_rate=0.01, hidden=(256,))
    options["epochs"] = 150
    fit(dataset, configure(**options), on_epoch_end=epochs.append)
    last = epochs[-1]
    assert last.validation
    assert last.loss < 0.65
    assert last.validation.loss > 0.7
    assert 0.4 < last.validation.accuracy < 0.6


def test_the_best_epoch_is_selected_out_of_fold() -> None:
    """Short epochs are evaluated together, the last one always; the best network is returned."""
    dataset = synthetic_products(2, train_rows=300)
    options = Options(members=3, folds=3, learning_rate=0.3, calibrate=True, epochs=20)
    epochs: list[Epoch] = []
    fitted = fit(dataset, configure(**options), on_epoch_end=epochs.append)
    assert [epoch.index for epoch in epochs if epoch.is_validated and epoch.validation] == [
        *(2, 5, 8, 11, 14, 17, 19)
    ]  # ten steps an epoch
    losses = {epoch.index: epoch.validation.loss for epoch in epochs if epoch.validation}
    assert fitted.last.index == min(losses, key=losses.__getitem__)
    assert epochs[-1].best == fitted.last.index
    assert not any(epoch.is_overfitting for epoch in epochs)
    with torch.no_grad():
        logits = fitted.model(dataset.rows.test_features)
    loss = functional.cross_entropy(logits, dataset.rows.test_labels)
    assert fitted.last.test_loss == pytest.approx(float(loss), rel=1e-5)


def test_patience_counts_epochs_out_of_fold() -> None:
    """Epochs are evaluated at least as often as patience needs."""
    dataset = synthetic_products(2, train_rows=300)
    options = Options(members=2, folds=2, learning_rate=3.0, patience=2, batch_size=300)
    options["epochs"] = 400
    epochs: list[Epoch] = []
    fitted = fit(dataset, configure(**options), on_epoch_end=epochs.append)
    assert len(epochs) == fitted.last.index + 3 < 400
    assert epochs[3].is_validated
    assert not epochs[2].is_validated


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"members": 10**9}, "members must be at most 1000, got 1000000000"),
        ({"members": 5, "folds": 1}, "folds must be 0 or at least 2, got 1"),
        ({"members": 3, "folds": 5}, "folds=5 needs a member for each fold.*add members=5"),
        ({"members": 3, "folds": 3, "validation": 0.1}, "folds=3 validates on all.*use one"),
        ({"calibrate": True}, "calibrate needs validation rows: add validation"),
    ],
)
def test_impossible_options_are_refused(options: Options, message: str) -> None:
    """The message says what to do."""
    with pytest.raises(UsageError, match=message):
        configure(**options)


def test_a_run_of_an_ensemble_is_a_run(tmp_path: Path) -> None:
    """It holds the deployed network and the options; the same command has nothing to resume."""
    configuration = configure(epochs=2, members=3, folds=3, hidden=(8, 6), calibrate=True)
    make_run(tmp_path / "run", configuration, device="cpu")
    run = load_run(tmp_path / "run")
    assert (run.record.hidden, run.record.member_hidden) == ((24, 18), (8, 6))
    assert (run.record.configuration["members"], run.record.configuration["folds"]) == (3, 3)
    assert run.record.metrics["temperature"] > 0
    shapes = [layer.weight.shape for layer in run.model.linear_layers()]
    assert shapes == [pair[::-1] for pair in pairwise((2, 24, 18, 2))]
    again = make_run(tmp_path / "run", configuration, device="cpu", saving=SaveOptions(resume=True))
    assert again.last is None
    assert again.run.record == run.record
