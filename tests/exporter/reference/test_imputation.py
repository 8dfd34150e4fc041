from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from exporter.bundling import check_candidate, convert_candidate, export_candidate
from exporter.formats.deployed import Deployed
from exporter.formats.model_files import convert_model
from exporter.formats.program import capture_program
from exporter.parity.rows import Plan
from exporter.parity.sampling import draw_uniform, ranges_of
from exporter.reference.capture import find_network
from exporter.reference.layers import model_of, preprocessing_of
from exporter.reference.preprocessing import Imputer
from exporter.source.candidate import candidate_from_module
from exporter.verify import verify_bundle
from runtime.errors import DataError, ParityError
from runtime.predictor import Predictor
from runtime.schema.features import Feature, OneHot, Schema
from trainer.data.dataset import LabelledRows
from trainer.model import Imputation, SimpleNet, prepend_stages

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from exporter.source.candidate import Candidate

pytestmark = pytest.mark.slow

PLAN = Plan(uniform=4096, boundary=512)
SCHEMA = Schema(
    "y",
    (
        Feature("x", -3, 3, missing="imputed"),
        Feature("c", 0, 1, one_hot=OneHot(("p", "q"))),
        Feature("z", 0, 5, missing="imputed"),
    ),
    ("no", "yes"),
)
FILLS = torch.tensor([0.5, 7.0, 7.0, 2.5])


def network(fills: torch.Tensor = FILLS, places: tuple[int, ...] = (0, 3)) -> SimpleNet:
    """A network that fills its gaps, always with the same layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = SimpleNet(4 + len(places), 2, (8,))
    layers.requires_grad_(requires_grad=False)
    return prepend_stages(layers, Imputation(fills, places), None).eval()


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    """It, with test rows that have gaps."""
    rows = draw_uniform(ranges_of(SCHEMA), np.random.default_rng(1), 50)
    assert np.isnan(rows).any()
    labels = np.zeros(50, np.int64)
    return candidate_from_module(network(), SCHEMA, name="gaps", test=LabelledRows(rows, labels))


def test_gaps_are_read_from_the_graph(candidate: Candidate) -> None:
    """A captured network has its layers, its fills and their places, to the bit."""
    found = find_network(capture_program(Deployed(network()), SCHEMA))
    assert found is not None
    gaps = found[1].imputer
    assert gaps is not None
    assert gaps.columns == (0, 3) == SCHEMA.imputed_inputs
    assert gaps.fill_values.tolist() == [0.5, 0.0, 0.0, 2.5]
    assert candidate.reference.tolerance == "derived"
    again = model_of(*found)
    rows = torch.from_numpy(draw_uniform(ranges_of(SCHEMA), np.random.default_rng(2), 500))
    assert torch.equal(again(rows), network()(rows))
    assert preprocessing_of(again).imputer
    assert not preprocessing_of(SimpleNet(3, 2))


def test_filling_in_numpy_is_filling_in_torch() -> None:
    """The reference and the numpy backend see the very rows that the layers get."""
    rows = draw_uniform(ranges_of(SCHEMA), np.random.default_rng(3), 500)
    rows[7, 1] = np.nan  # no gap: it stays
    filling = network().imputation
    assert filling is not None
    expected = filling(torch.from_numpy(rows)).numpy()
    gaps = preprocessing_of(network()).imputer
    assert gaps is not None
    assert np.array_equal(gaps.transform(rows), expected, equal_nan=True)
    assert np.isnan(expected[7, 1])


def test_a_bundle_with_gaps_is_proven_verified_and_served(
    candidate: Candidate, tmp_path: Path
) -> None:
    """Every backend on rows with gaps; golden rows with gaps; NaN in, an answer out."""
    exported = export_candidate(candidate, tmp_path / "bundle", plan=PLAN)
    assert exported.report.passed
    assert exported.report.tolerance == "derived"
    assert verify_bundle(tmp_path / "bundle", plan=PLAN).passed
    predictor = Predictor(tmp_path / "bundle", provider="cpu")
    raw = np.array([[np.nan, 1, 0, 2], [1, 0, 1, np.nan]], np.float32)
    with torch.no_grad():
        expected = network()(torch.from_numpy(raw)).softmax(dim=1).numpy()
    assert np.allclose(predictor.predict(raw).probabilities, expected, rtol=1e-5)
    columns: dict[str, Any] = {"x": [None, 1.0], "c": ["p", "q"], "z": [2.0, None]}
    named = predictor.predict(columns)
    assert np.array_equal(named.probabilities, predictor.predict(raw).probabilities)
    with_nan = {**columns, "x": np.array([np.nan, 1.0])}
    assert np.array_equal(predictor.predict(with_nan).probabilities, named.probabilities)
    with pytest.raises(DataError, match="column 'c=p'"):
        predictor.predict(np.array([[1, np.nan, 0, 2]]))
    with pytest.raises(DataError, match="column 'x'"):
        predictor.predict(np.array([[np.inf, 1, 0, 2]]))


@pytest.mark.parametrize(
    "wrong",
    [
        network(FILLS + torch.tensor([0.01, 0, 0, 0])),
        network(places=(3, 0)),
    ],
    ids=["another fill", "marks exchanged"],
)
def test_files_that_fill_otherwise_fail(candidate: Candidate, wrong: SimpleNet) -> None:
    """Nothing passes that fills a gap with another number or marks another column."""

    def convert(_: Candidate) -> ModelFiles:
        good = convert_candidate(candidate)
        other = convert_model(wrong, SCHEMA, name="gaps")
        return replace(good, onnx=other.onnx)

    with pytest.raises(ParityError, match=r"first diverging node: .*oncat"):
        check_candidate(candidate, PLAN, convert=convert)


def test_a_graph_that_fills_otherwise_is_no_chain() -> None:
    """What is not recognised to the last argument is not taken for an imputation."""

    class Other(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(torch.nan_to_num(features))
            return logits

    assert find_network(capture_program(Deployed(Other().eval()), SCHEMA)) is None


def test_gaps_fill_without_touching_the_rows() -> None:
    """The rows of a proof stay what they are for the next backend."""
    rows = np.array([[np.nan, 1.0]], np.float32)
    filled = Imputer(np.array([2.0, 0.0], np.float32), (0,)).transform(rows)
    assert filled.tolist() == [[2.0, 1.0, 1.0]]
    assert np.isnan(rows[0, 0])
