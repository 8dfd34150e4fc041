from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exporter.reference.layers import layers_of, preprocessing_of
from exporter.reference.oracle import derive_reference
from runtime.errors import ArtifactError, UsageError
from runtime.schema.features import Feature, OneHot, Schema
from trainer.config import Configuration
from trainer.data.binning import find_edges, find_far, fit_encoding, limit_bins
from trainer.data.dataset import Dataset, Rows
from trainer.data.preprocessing import column_names, input_names, preprocess_dataset
from trainer.fit import fit, init_network
from trainer.model import SimpleNet
from trainer.piecewise import PiecewiseLinearEncoding
from trainer.pipeline import make_run
from trainer.recipe import configure_for_table
from trainer.run import load_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Float64Vector = NDArray[np.float64]

LARGEST = float(np.finfo(np.float32).max)


def dataset(rows: int = 200) -> Dataset:
    """A number with gaps, a category, a flag of 0 and 1, and a number of few values."""
    random = np.random.default_rng(5)
    columns = [
        np.where(random.random(rows) < 0.2, np.nan, random.lognormal(size=rows)),
        *np.eye(2)[random.integers(0, 2, rows)].T,
        random.integers(0, 2, rows),
        random.integers(0, 4, rows) * 2.5,
    ]
    features = torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
    labels = torch.from_numpy(random.integers(0, 2, rows))
    schema = Schema(
        "y",
        (
            Feature("x", 0, 50, missing="imputed"),
            Feature("c", 0, 1, one_hot=OneHot(("p", "q"))),
            Feature("flag", 0, 1),
            Feature("n", 0, 7.5),
        ),
        ("no", "yes"),
    )
    half = rows // 2
    return Dataset(schema, Rows(features[:half], labels[:half], features[half:], labels[half:]))


def test_edges_are_distinct_quantiles_that_are_values() -> None:
    """Bins have about as many rows each; equal quantiles are one edge, missing values none."""
    values = np.arange(101, dtype=np.float32)
    assert find_edges(values[::-1].copy(), 4).tolist() == [0, 25, 50, 75, 100]
    many_zeros = np.array([-0.0, 0, 0, np.nan, 0, 0, 0, 0, 1, 7], np.float32)
    edges = find_edges(many_zeros, 4)
    assert edges.tolist() == [0, 7]
    assert not np.signbit(edges[0])
    assert not find_edges(np.full(3, np.nan, np.float32), 4).size


@pytest.mark.parametrize(
    ("values", "scales"),
    [
        ([0, 1e-44, 1e-38, 1, 2], [1.0, 1.0]),  # 1 / 1e-44 would be infinite
        ([-LARGEST, 0, LARGEST], []),  # 1 / width would be no normal number
        ([1, 1 + 2.0**-23, 2, 3], [2.0**23, 1 / (1 - 2.0**-23), 1.0]),
    ],
    ids=["denormal widths", "huge widths", "neighbours"],
)
def test_bins_can_be_divided_by_their_width(values: list[float], scales: list[float]) -> None:
    """An edge that is too close joins its bin to the next; a bin too wide is left out."""
    found = fit_encoding(torch.tensor(values)[:, None], (0,), len(values) - 1)
    expected = torch.tensor(scales)[:, None]
    assert torch.equal(found.scales if found else torch.empty(0, 1), expected)


def test_numbers_of_two_values_have_no_bins() -> None:
    """They are as good as encoded; neither categories nor indicators of gaps are divided."""
    encoded = preprocess_dataset(dataset(), Configuration(bins=4))
    names = input_names(encoded.dataset.schema)
    assert names == (
        *("x", "c=p", "c=q", "flag", "n", "x is missing"),
        *("x bin 1", "x bin 2", "x bin 3", "x bin 4", "n bin 1", "n bin 2", "n bin 3"),
    )
    assert column_names(encoded.dataset.schema) == ["x", "c", "flag", "n"]
    two = torch.tensor([[0.0], [1.0], [0.0]])
    assert fit_encoding(two, (0,), 16) is None


def test_the_network_encodes_as_training_did() -> None:
    """Preprocessed rows in the trained network and raw ones in the final one: the same bits."""
    raw, configuration = dataset(), Configuration(bins=16)
    encoded = preprocess_dataset(raw, configuration)
    network = init_network(encoded.dataset, configuration).eval()
    assert isinstance(network, SimpleNet)
    whole = encoded.restore_inputs(network)
    assert whole.imputation
    assert whole.encoding
    for part in ("train_features", "test_features"):
        seen, trained = getattr(raw.rows, part), getattr(encoded.dataset.rows, part)
        assert torch.equal(whole.encoding(whole.imputation(seen)), trained)
        # A column is no longer consecutive numbers: another kernel may multiply the two.
        assert torch.allclose(whole(seen), network(trained), rtol=1e-5, atol=1e-6)
    assert trained.is_contiguous()
    assert 0 <= trained[:, 6:].min() <= trained[:, 6:].max() <= 1


def test_only_training_rows_decide_where_bins_are() -> None:
    """Rows held out for validation and test rows change no edge."""
    raw = dataset()
    configuration = Configuration(bins=8, validation=0.3)
    before = preprocess_dataset(raw, configuration).encoding
    train = raw.rows.train_features.clone()
    from trainer.data.splits import split_validation

    held_out = split_validation(raw.rows.train_labels, 0.3, configuration.seed).validation
    train[held_out] = 1000.0
    rows = replace(raw.rows, train_features=train, test_features=raw.rows.test_features + 7)
    after = preprocess_dataset(replace(raw, rows=rows), configuration).encoding
    assert before
    assert after
    assert torch.equal(before.lows, after.lows)
    assert torch.equal(before.scales, after.scales)


def test_wide_and_long_tables_have_fewer_bins() -> None:
    """The encoded values of all rows stay in memory: there is a limit."""
    assert limit_bins(16, inputs=20, rows=10_000) == 16
    assert limit_bins(16, inputs=200, rows=10_000) == 5
    assert limit_bins(16, inputs=10, rows=20_000_000) == 5
    wide = torch.rand(8, 600)
    assert fit_encoding(wide, range(600), 16) is None
    wide[:, 4:] = wide[:, 4:].round()  # flags are not divided, and so do not count
    found = fit_encoding(wide, range(600), 16)
    assert found
    assert len(found.positions) == 4 * 7
    many = torch.rand(8, 5000).round()
    many[:, :4] = torch.rand(8, 4)
    assert fit_encoding(many, range(4096), 16)
    assert fit_encoding(many, range(4097), 16) is None
    wide = torch.rand(200, 600)
    wide[0, 7] = 1e6
    found = fit_encoding(wide, range(600), 16, divides_uneven=True)
    assert found
    assert found.positions.tolist() == [7] * 16


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, unique=True), st.integers(2, 16))
def test_the_encoding_adds_up_to_the_number(numbers: list[float], bins: int) -> None:
    """Bins times their widths are the number above the lowest edge, and so never fall."""
    values = torch.tensor(sorted(numbers))
    found = fit_encoding(values[:, None], (0,), bins)
    if found is None:
        return
    outside = torch.cat([values, values[-1:] + 1e6, values[:1] - 1e6]).sort().values
    encoded = found(outside[:, None])[:, 1:].double()
    summed = (encoded / found.scales.double().t()).sum(dim=1)
    edges = find_edges(values.numpy(), bins)
    expected = outside.double().clamp(float(edges[0]), float(edges[-1])) - float(edges[0])
    assert torch.allclose(summed, expected, rtol=1e-6, atol=1e-30)
    assert (encoded.diff(dim=0) >= 0).all()


def test_infinities_are_clipped_and_nan_stays() -> None:
    """A value beyond all numbers is in no bin but the last or before the first."""
    encoding = PiecewiseLinearEncoding.of({0: torch.tensor([0.0, 1.0, 3.0])})
    rows = torch.tensor([[np.inf], [-np.inf], [LARGEST], [-LARGEST], [2.0], [np.nan]])
    assert encoding(rows)[:5, 1:].tolist() == [[1, 1], [0, 0], [1, 1], [0, 0], [1, 0.5]]
    assert encoding(rows)[5, 1:].isnan().all()


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with bins."""
    folder = tmp_path_factory.mktemp("encoded") / "run"
    make_run(folder, Configuration(bins=4, epochs=1), dataset(), device="cpu")
    return folder


def test_a_run_with_bins_round_trips(run_folder: Path) -> None:
    """The edges are among its weights."""
    run = load_run(run_folder)
    assert run.record.configuration["bins"] == 4
    encoding = preprocess_dataset(dataset(), Configuration(bins=4)).encoding
    assert encoding
    assert run.model.encoding
    assert encoding.state_dict().keys() == run.model.encoding.state_dict().keys()
    for name, tensor in encoding.state_dict().items():
        assert torch.equal(run.model.encoding.state_dict()[name], tensor)
    assert run.model(run.rows.test_features).isfinite().all()


def test_a_run_whose_record_has_no_bins_is_damaged(run_folder: Path, tmp_path: Path) -> None:
    """Weights and record must agree."""
    record = msgspec.json.decode((run_folder / "run.json").read_bytes())
    record["configuration"] |= {"bins": 0, "standardise": False}
    for name in ("weights.safetensors", "rows.safetensors"):
        (tmp_path / name).write_bytes((run_folder / name).read_bytes())
    (tmp_path / "run.json").write_bytes(msgspec.json.encode(record))
    with pytest.raises(ArtifactError, match=r"encoding\.lows is unexpected"):
        load_run(tmp_path)


@pytest.mark.parametrize("bins", [-1, 1, 257])
def test_a_number_of_bins_that_cannot_be_is_refused(bins: int) -> None:
    """One bin would be the number itself."""
    with pytest.raises(UsageError, match=f"bins must be 0 for none, or 2 to 256, got {bins}"):
        Configuration(bins=bins)


def typo(random: np.random.Generator) -> Float64Vector:
    """One cell of 1e20 among numbers like 0.3."""
    return np.where(np.arange(400) == 7, 1e20, random.normal(size=400))


def sentinel(random: np.random.Generator) -> Float64Vector:
    """Ages, a tenth of which are 999999."""
    return np.where(np.arange(400) % 10, random.integers(18, 80, 400), 999_999)


def tail(random: np.random.Generator) -> Float64Vector:
    """Incomes that differ by orders of magnitude."""
    return random.lognormal(10, 4, 400)


def two_tails(random: np.random.Generator) -> Float64Vector:
    """A twentieth far out on either side."""
    return np.where(np.arange(400) % 20, 1, 1e7) * random.standard_cauchy(400)


def codes(random: np.random.Generator) -> Float64Vector:
    """0, 1 and a few 9999."""
    return np.where(np.arange(400) % 50, random.integers(0, 2, 400), 9999)


@pytest.mark.parametrize("draw", [typo, sentinel, tail, two_tails, codes])
def test_a_few_values_do_not_hide_the_others(
    draw: Callable[[np.random.Generator], Float64Vector],
) -> None:
    """The labels that ordinary values decide are learnt, without bins for the other columns."""
    random = np.random.default_rng(3)
    values, even = draw(random), random.normal(size=400)
    features = torch.from_numpy(np.stack([even, values], axis=1).astype(np.float32))
    labels = torch.from_numpy((values > np.quantile(values, 0.49)).astype(np.int64))
    schema = Schema("y", (Feature("even", -9, 9), Feature("uneven", -1e30, 1e30)), ("no", "yes"))
    raw = Dataset(schema, Rows(features[:300], labels[:300], features[300:], labels[300:]))
    configuration = configure_for_table(None, {}, (300, 2))
    assert configuration.bins == 0
    ready = preprocess_dataset(raw, configuration)
    assert ready.encoding
    assert set(ready.encoding.positions.tolist()) == {1}
    model = ready.restore_inputs(fit(ready.dataset, configuration).model)
    with torch.no_grad():
        found = model(features[300:]).argmax(dim=1)
    assert (found == labels[300:]).double().mean() > 0.95
    tutorial = Configuration(preset="tutorial", standardise=False)
    assert preprocess_dataset(raw, tutorial).encoding is None


def test_numbers_of_ordinary_spread_are_not_divided_unasked() -> None:
    """Bins of all numbers take time, and few rows gain nothing by them."""
    random = np.random.default_rng(2)
    columns = [
        random.normal(size=1000),
        random.lognormal(0, 2, 1000),
        random.standard_cauchy(1000),
        random.uniform(size=1000),
        random.exponential(size=1000),
        random.lognormal(0, 0.9, 1000),
        random.poisson(2, 1000),
        random.geometric(0.05, 1000),
        random.integers(0, 3, 1000) * 1e6,
        np.where(random.random(1000) < 0.9, 0, random.exponential(size=1000)),
        np.where(random.random(1000) < 0.2, np.nan, random.normal(size=1000)),
    ]
    features = torch.from_numpy(np.stack(columns, axis=1).astype(np.float32))
    assert fit_encoding(features, range(len(columns)), 0, divides_uneven=True) is None


@pytest.mark.parametrize(("distance", "is_far"), [(900, False), (1100, True)])
def test_how_far_from_zero_is_far(distance: float, *, is_far: bool) -> None:
    """1,024 standard deviations."""
    values = torch.tensor([distance - 1.0, distance + 1.0] * 50).unsqueeze(1)
    assert bool(find_far(values, {0: Feature("x", distance - 1, distance + 1)})) is is_far


@pytest.mark.parametrize("bins", [0, 4])
def test_a_number_far_from_zero_is_replaced_by_a_bin(bins: int) -> None:
    """Of 1e6 ± 1 the model knows what the table says, with a bound far below a logit's size."""
    random = np.random.default_rng(1)
    near = random.normal(size=400).astype(np.float32)
    far = (1e6 + random.integers(-16, 17, 400) / 16).astype(np.float32)
    features = torch.from_numpy(np.stack([near, far, 0 * far + 7e8], axis=1))
    labels = torch.from_numpy((far > 1e6).astype(np.int64))
    names = (Feature("near", -4, 4), Feature("far", 1e6 - 1, 1e6 + 1), Feature("same", 7e8, 7e8))
    rows = Rows(features[:300], labels[:300], features[300:], labels[300:])
    raw = Dataset(Schema("y", names, ("no", "yes")), rows)
    configuration = Configuration(bins=bins, epochs=20)
    ready = preprocess_dataset(raw, configuration)
    assert ready.dataset.rows.test_features[:, 1].eq(0).all()
    model = ready.restore_inputs(fit(ready.dataset, configuration).model)
    reference = derive_reference(layers_of(model), preprocessing_of(model))
    found = reference.evaluate(features[300:].numpy())
    assert (found.label == labels[300:].numpy()).mean() > 0.95
    assert found.logits.error.max() < 1e-4
    as_they_are = replace(configuration, bins=0, standardise=False)
    assert preprocess_dataset(raw, as_they_are).encoding is None
