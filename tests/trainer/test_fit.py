from __future__ import annotations

import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from runtime.errors import DataError, UsageError
from runtime.schema.features import Feature
from trainer.config import Configuration, Options, configure
from trainer.data.preprocessing import preprocess_dataset
from trainer.data.products import synthetic_products
from trainer.data.splits import split_validation
from trainer.fit import fit
from trainer.seeds import derive_seed, epoch_generator

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch
    from trainer.config import Optimiser, Preset
    from trainer.data.dataset import Dataset
    from trainer.model import SimpleNet

pytestmark = pytest.mark.slow

FRESH_SEED = 10**12


class TutorialNet(nn.Module):
    """The tutorial's network, verbatim."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(2, 32)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.fc1(x)
        x = self.relu(x)
        x = self.fc2(x)
        return x  # noqa: RET504 - the tutorial's own lines


def run_tutorial(dataset: Dataset, configuration: Configuration) -> tuple[TutorialNet, list[float]]:
    """The tutorial's loop over a plain DataLoader: its network and each batch's loss."""
    rows, seed = dataset.rows, configuration.seed
    data = TensorDataset(rows.train_features, rows.train_labels)
    losses = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "weights"))
        model = TutorialNet()
        criterion = nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=configuration.learning_rate)
        for epoch in range(configuration.epochs):
            sampler = RandomSampler(data, generator=epoch_generator(seed, epoch))
            loader = DataLoader(data, batch_size=configuration.batch_size, sampler=sampler)
            for features, labels in loader:
                optimizer.zero_grad()
                loss = criterion(model(features), labels)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    return model, losses


def weight_bytes(model: nn.Module) -> list[bytes]:
    return [weight.detach().numpy().tobytes() for weight in model.parameters()]


def accuracy_on_fresh_rows(model: SimpleNet, seed: int, rows: int = 5000) -> float:
    fresh = synthetic_products(FRESH_SEED + seed, train_rows=1, test_rows=rows).rows
    with torch.no_grad():
        labels = model(fresh.test_features).argmax(dim=1)
    return float((labels == fresh.test_labels).double().mean())


@pytest.mark.parametrize(
    ("train_rows", "options"),
    [
        (800, {}),
        (800, {"seed": 2**40 + 3}),
        (70, {"epochs": 3}),
        (5, {"epochs": 2}),
        (33, {"batch_size": 1, "epochs": 2}),
    ],
    ids=["the tutorial", "another seed", "a tail batch", "one short batch", "one row a batch"],
)
def test_the_tutorial_preset_equals_the_tutorials_loop_bit_for_bit(
    train_rows: int, options: Options
) -> None:
    """With the same seeds a plain DataLoader loop gives the same weights and losses."""
    configuration = configure("tutorial", **options)
    dataset = synthetic_products(configuration.seed, train_rows=train_rows)
    epochs: list[Epoch] = []
    ours = fit(dataset, configuration, on_epoch_end=epochs.append).model
    theirs, losses = run_tutorial(dataset, configuration)
    assert weight_bytes(ours) == weight_bytes(theirs)
    assert [loss for epoch in epochs for loss in epoch.losses] == losses


def test_the_tutorial_preset_learns_as_the_tutorial_does() -> None:
    """Loss falls from about 0.6 to about 0.4 and accuracy reaches about 81 %, over seeds."""
    first, last, accuracy = [], [], []
    for seed in range(1, 12):
        epochs: list[Epoch] = []
        model = fit(
            synthetic_products(seed), configure("tutorial", seed=seed), on_epoch_end=epochs.append
        )
        first.append(epochs[0].loss)
        last.append(epochs[-1].loss)
        accuracy.append(accuracy_on_fresh_rows(model.model, seed))
    assert statistics.median(first) == pytest.approx(0.65, abs=0.07)
    assert statistics.median(last) == pytest.approx(0.44, abs=0.04)
    assert statistics.median(accuracy) == pytest.approx(0.81, abs=0.03)


def test_the_default_preset_is_accurate_for_any_seed() -> None:
    """On fresh raw rows: median at least 99 %, worst at least 97 % (50 seeds in benchmarks)."""
    accuracies = [
        accuracy_on_fresh_rows(fit(synthetic_products(seed), configure(seed=seed)).model, seed)
        for seed in range(12)
    ]
    assert statistics.median(accuracies) >= 0.99
    assert min(accuracies) >= 0.97


def test_an_epoch_has_the_metrics_of_the_returned_network() -> None:
    """Test loss and accuracy are of the folded float32 network on raw rows."""
    dataset = synthetic_products(8, train_rows=100, test_rows=300)
    epochs: list[Epoch] = []
    fitted = fit(dataset, configure(epochs=2), on_epoch_end=epochs.append)
    assert [epoch.index for epoch in epochs] == [0, 1]
    assert {epoch.epochs for epoch in epochs} == {2}
    assert fitted.last == epochs[-1]
    with torch.no_grad():
        logits = fitted.model(dataset.rows.test_features)
    labels = dataset.rows.test_labels
    assert fitted.last.accuracy == int((logits.argmax(dim=1) == labels).sum()) / 300
    loss = nn.functional.cross_entropy(logits, labels)
    assert fitted.last.test_loss == pytest.approx(float(loss), rel=1e-6)


def test_the_epochs_loss_weights_every_row_equally() -> None:
    """A short batch of 6 rows has weight 6, a full one 32."""
    epochs: list[Epoch] = []
    fit(synthetic_products(1, train_rows=70), configure(epochs=1), on_epoch_end=epochs.append)
    full, also_full, tail = epochs[0].losses
    assert epochs[0].loss == pytest.approx((32 * full + 32 * also_full + 6 * tail) / 70)


def test_training_is_a_function_of_data_and_configuration() -> None:
    """Random numbers drawn before, and the number of threads, change no bit."""
    dataset, configuration = synthetic_products(3), configure(epochs=2, seed=3)
    before = weight_bytes(fit(dataset, configuration).model)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        torch.set_num_threads(threads + 1)
        try:
            assert weight_bytes(fit(dataset, configuration).model) == before
        finally:
            torch.set_num_threads(threads)


def test_training_restores_torchs_settings() -> None:
    """Global random state, thread count and the dataset's tensors do not change."""
    dataset = synthetic_products(3, train_rows=50)
    digest, state, threads = dataset.digest(), torch.get_rng_state(), torch.get_num_threads()
    seen = []
    fit(dataset, configure(epochs=1), on_epoch_end=lambda _: seen.append(torch.get_num_threads()))
    assert seen == [1]
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert dataset.digest() == digest


def test_the_network_is_returned_ready_for_use() -> None:
    """It is in evaluation mode and on the CPU."""
    model = fit(synthetic_products(3, train_rows=50), configure(epochs=1)).model
    assert not model.training
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}


def test_hidden_layers_are_as_configured() -> None:
    """The network has the configured widths, and learns."""
    fitted = fit(synthetic_products(3), Configuration(hidden=(8, 6), epochs=20))
    assert [layer.out_features for layer in fitted.model.linear_layers()] == [8, 6, 2]
    assert fitted.last.accuracy > 0.95


def test_a_network_too_large_for_memory_is_refused() -> None:
    """Before anything is allocated: the kernel would kill the process without a message."""
    for hidden in ((10**12,), (30_000, 30_000)):
        with pytest.raises(UsageError, match=r"weights is too large.*with hidden"):
            fit(synthetic_products(1), Configuration(hidden=hidden))


@pytest.mark.parametrize("preset", ["default", "tutorial"])
def test_diverging_training_stops_with_advice(preset: Preset) -> None:
    """The message names the step and the option; no callback receives the epoch."""
    configuration = configure(preset, learning_rate=1e30)
    epochs: list[Epoch] = []
    with pytest.raises(DataError, match=r"diverged.*epoch 1, step 2;.*learning_rate.*1e\+30"):
        fit(synthetic_products(1), configuration, on_epoch_end=epochs.append)
    assert epochs == []


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("product", [1.9, 2.5])
def test_a_weight_decay_too_high_for_the_learning_rate_is_named(
    optimiser: Optimiser, product: float
) -> None:
    """Training diverges above a product of 2, as the message says, and not below."""
    configuration = configure(
        learning_rate=0.01, weight_decay=product / 0.01, optimiser=optimiser, epochs=50
    )
    if product < 2:
        fit(synthetic_products(1), configuration)
        return
    advice = r"use a lower weight_decay \(it was 250.0\): times learning_rate .* must be below 2"
    with pytest.raises(DataError, match=advice):
        fit(synthetic_products(1), configuration)


def test_a_small_weight_decay_is_not_blamed_for_a_huge_learning_rate() -> None:
    """Their product is above 2, and a lower decay would not help."""
    configuration = configure(learning_rate=1e30, weight_decay=0.1)
    with pytest.raises(DataError, match="use a lower learning_rate"):
        fit(synthetic_products(1), configuration)


@pytest.mark.parametrize(("kind", "validation"), [("test", 0.0), ("validation", 0.1)])
def test_an_evaluated_row_that_overflows_is_no_divergence(kind: str, validation: float) -> None:
    """The message names its number: a lower learning rate would not help."""
    dataset = synthetic_products(1)
    configuration, rows = configure(validation=validation), dataset.rows
    if kind == "test":
        rows.test_features[3, 1] = 3.3e38
    else:
        split = split_validation(rows.train_labels, validation, configuration.seed)
        rows.train_features[split.validation[3], 1] = 3.3e38
    name = dataset.schema.features[1].name
    with pytest.raises(
        DataError, match=rf"a {kind} row has no finite loss: .* '{name}' is 3.3e\+38, in "
    ):
        fit(dataset, configuration)


def test_a_divergence_in_the_last_step_is_detected() -> None:
    """Its own loss is finite; the loss of the test rows is not."""
    configuration = configure("tutorial", learning_rate=3e38, epochs=1, batch_size=800)
    with pytest.raises(DataError, match="epoch 1, step 1"):
        fit(synthetic_products(1), configuration)


def test_a_divergence_is_not_blamed_on_rows() -> None:
    """Neither on each test row being a little outside, nor on a number that a bin replaces."""
    dataset, configuration = synthetic_products(1), configure(learning_rate=3e38, batch_size=800)
    dataset.rows.train_features[:, 1] += 1e6
    dataset.rows.test_features[:, 0] = 1e3
    low, high = dataset.rows.train_features.aminmax(dim=0)
    ranges = zip(("price", "rating"), low.tolist(), high.tolist(), strict=True)
    schema = msgspec.structs.replace(
        dataset.schema, features=tuple(Feature(*each) for each in ranges)
    )
    dataset = replace(dataset, schema=schema)
    preprocessed = preprocess_dataset(dataset, configuration).dataset
    assert preprocessed.schema.n_inputs > dataset.schema.n_inputs
    with pytest.raises(DataError, match=r"diverged.*epoch 1, step 1"):
        fit(preprocessed, configuration)


def test_no_step_synchronises_with_the_device() -> None:
    """An epoch of 100 steps reads as many values as one of 1 step."""
    reads = []
    for size in (1, 100):
        with profile(activities=[ProfilerActivity.CPU]) as recorded:
            fit(synthetic_products(1, train_rows=100), configure(epochs=1, batch_size=size))
        counts = {average.key: average.count for average in recorded.key_averages()}
        assert counts["aten::addmm"] >= 2 * 100 / size
        reads.append(counts["aten::_local_scalar_dense"])
    assert reads[0] == reads[1]
