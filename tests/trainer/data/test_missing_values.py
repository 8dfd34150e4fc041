from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import pytest
import torch

from runtime.errors import ArtifactError
from runtime.schema.features import Feature, Schema
from trainer.data.dataset import Dataset, Rows
from trainer.data.preprocessing import fit_imputation, impute_dataset
from trainer.model import SimpleNet
from trainer.run import Run, load_run, save_run

if TYPE_CHECKING:
    from pathlib import Path

NAN = math.nan
ROWS = torch.tensor([[1.0, NAN, NAN], [3.0, 4.0, NAN], [NAN, 6.0, NAN], [5.0, 8.0, NAN]])
LABELS = torch.tensor([0, 1, 0, 1])


def dataset(rows: torch.Tensor, *, gaps: tuple[int, ...]) -> Dataset:
    features = tuple(
        Feature(name, 0, 9, missing="imputed" if at in gaps else "refused")
        for at, name in enumerate("abc")
    )
    parts = Rows(rows, LABELS, rows[:2], LABELS[:2])
    return Dataset(Schema("y", features, ("p", "q")), parts)


def test_imputation_is_the_mean_and_an_indicator() -> None:
    """The mean of the known numbers, 0 without any; other NaN stay."""
    imputation = fit_imputation(ROWS, (0, 2))
    assert imputation.fills.tolist() == [3.0, 0.0, 0.0]
    filled = imputation(ROWS)
    assert filled.dtype == torch.float32
    assert filled[1:].tolist() == [[3, 4, 0, 0, 1], [3, 6, 0, 1, 1], [5, 8, 0, 0, 1]]
    assert filled[0, 1].isnan()
    assert imputation(ROWS[:0]).shape == (0, 5)


def test_a_network_of_raw_rows_equals_the_trained_one() -> None:
    """Imputed rows in the trained network and raw rows in the final one: the same bits."""
    raw = dataset(ROWS[:, :2].contiguous(), gaps=(0, 1))
    narrow = msgspec.structs.replace(raw.schema, features=raw.schema.features[:2])
    filled = impute_dataset(Dataset(narrow, raw.rows))
    assert filled.dataset.schema.n_inputs == 4
    assert not filled.dataset.schema.imputed_inputs
    assert filled.dataset.rows.train_features.isfinite().all()
    network = SimpleNet(4, 2)
    finished = filled.restore_inputs(network)
    assert torch.equal(
        finished(raw.rows.train_features), network(filled.dataset.rows.train_features)
    )
    assert network.imputation is None


def test_rows_without_gaps_are_not_changed() -> None:
    """Nothing is imputed or copied."""
    plain = dataset(torch.ones(4, 3), gaps=())
    filled = impute_dataset(plain)
    assert filled.dataset is plain
    network = SimpleNet(3, 2)
    assert filled.restore_inputs(network) is network


@pytest.fixture
def saved(finished_run: Path, tmp_path: Path) -> Path:
    """A run whose second feature has gaps."""
    run = load_run(finished_run)
    first, second = run.record.schema.features
    features = (first, msgspec.structs.replace(second, missing="imputed"))
    schema = msgspec.structs.replace(run.record.schema, features=features)
    train = run.rows.train_features.clone()
    train[::5, 1] = NAN
    rows = Rows(train, run.rows.train_labels, run.rows.test_features, run.rows.test_labels)
    model = impute_dataset(Dataset(schema, rows)).restore_inputs(SimpleNet(3, 2))
    (tmp_path / "run").mkdir()
    save_run(tmp_path / "run", Run(msgspec.structs.replace(run.record, schema=schema), model, rows))
    return tmp_path / "run"


def test_a_run_with_gaps_round_trips(saved: Path) -> None:
    """Weights, fills and rows, bit for bit."""
    run = load_run(saved)
    assert run.record.schema.imputed_inputs == (1,)
    assert run.rows.train_features[::5, 1].isnan().all()
    outputs = run.model(run.rows.train_features)
    assert outputs.isfinite().all()
    assert sorted(run.model.state_dict()) == [
        "imputation.fills",
        "layers.0.bias",
        "layers.0.weight",
        "layers.2.bias",
        "layers.2.weight",
    ]


def test_a_run_without_its_fills_is_damaged(saved: Path) -> None:
    """If the schema has gaps, the weights must have the fills."""
    content = (saved / "run.json").read_text(encoding="utf-8")
    (saved / "run.json").write_text(content.replace('"imputed"', '"refused"'), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"imputation\.fills is unexpected"):
        load_run(saved)
