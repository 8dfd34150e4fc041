from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from exporter.bundling import check_candidate, convert_candidate, export_candidate
from exporter.formats.deployed import Deployed
from exporter.formats.model_files import convert_model
from exporter.formats.program import capture_program
from exporter.parity.rows import Plan
from exporter.parity.sampling import draw_bin_edges, draw_uniform, ranges_of
from exporter.reference.bounds import enclose_logits
from exporter.reference.capture import find_network
from exporter.reference.layers import layers_of, model_of, preprocessing_of
from exporter.reference.preprocessing import Encoder
from exporter.source.candidate import candidate_from_module
from exporter.verify import verify_bundle
from runtime.errors import ParityError
from runtime.predictor import Predictor
from runtime.schema.features import Feature, OneHot, Schema
from trainer.model import Imputation, SimpleNet, prepend_stages
from trainer.piecewise import PiecewiseLinearEncoding

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from exporter.source.candidate import Candidate
    from runtime.schema.features import Float32Matrix

PLAN = Plan(uniform=2048, boundary=512, small=64, medium=1024)
SCHEMA = Schema(
    "y",
    (
        Feature("x", -3, 3, missing="imputed"),
        Feature("c", 0, 1, one_hot=OneHot(("p", "q"))),
        Feature("z", 1000, 1001),
    ),
    ("no", "yes"),
)
EDGES = {
    0: torch.tensor([-3, -0.7, 0, 0.1, 3]),
    3: torch.tensor([1000, 1000 + 2.0**-14, 1000.5, 1001]),
}
LARGEST = float(np.finfo(np.float32).max)


def network(edges: dict[int, torch.Tensor] | None = None) -> SimpleNet:
    """A network that fills a gap and encodes two numbers, always with the same layers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = SimpleNet(5 + 7, 2, (8,)).requires_grad_(requires_grad=False)
    imputation = Imputation(torch.tensor([0.5, 0, 0, 0]), (0,))
    return prepend_stages(layers, imputation, PiecewiseLinearEncoding.of(edges or EDGES)).eval()


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    return candidate_from_module(network(), SCHEMA, name="bins")


def test_bins_are_read_from_the_graph(candidate: Candidate) -> None:
    """A captured network has its bins to the bit, and encodes in numpy as in torch."""
    assert candidate.reference.tolerance == "derived"
    stages = candidate.reference.preprocessing
    assert stages.imputer
    assert stages.encoder
    assert {at: len(edges) for at, edges in stages.edges.items()} == {0: 5, 3: 4}
    again = model_of(candidate.reference.layers, stages)
    rows = draw_bin_edges(ranges_of(SCHEMA), stages.edges)
    assert torch.equal(again(torch.from_numpy(rows)), network()(torch.from_numpy(rows)))
    imputation, encoding = network().imputation, network().encoding
    assert imputation
    assert encoding
    encoded = encoding(imputation(torch.from_numpy(rows)))
    assert np.array_equal(stages.transform(rows), encoded.numpy())
    assert preprocessing_of(again).edges.keys() == {0, 3}


@pytest.mark.slow
def test_a_bundle_with_bins_is_proven_verified_and_served(
    candidate: Candidate, tmp_path: Path
) -> None:
    """Every backend at edges, on infinities and far outside; then raw columns in, answers out."""
    exported = export_candidate(candidate, tmp_path / "bundle", plan=PLAN)
    groups = {group.name: group.rows for group in exported.report.groups}
    assert groups["bins"] >= 2 * 3 * 4
    assert all(cell.special_mismatches == 0 for cell in exported.report.cells)
    assert exported.report.worst_error_over_bound > 0.01
    assert verify_bundle(tmp_path / "bundle", plan=PLAN).passed
    rows = {"x": [0.05, None], "c": ["p", "q"], "z": [1000.00003, 1000.9]}
    raw = torch.tensor([[0.05, 1, 0, 1000.00003], [np.nan, 0, 1, 1000.9]])
    expected = network()(raw).softmax(dim=1).numpy()
    found = Predictor(tmp_path / "bundle", provider="cpu").predict(rows).probabilities
    assert np.allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("position", "edge", "moved"), [(0, 3, 0.01), (3, 1, 2.0**-14)], ids=["near 0", "near 1000"]
)
def test_a_moved_edge_fails(candidate: Candidate, position: int, edge: int, moved: float) -> None:
    """Files whose edges are not the model's are found, and where they first differ."""
    edges = {at: each.clone() for at, each in EDGES.items()}
    edges[position][edge] += moved

    def convert(_: Candidate) -> ModelFiles:
        good = convert_candidate(candidate)
        return replace(good, onnx=convert_model(network(edges), SCHEMA, name="bins").onnx)

    with pytest.raises(ParityError, match=r"first diverging node: \S+ \(Sub\)"):
        check_candidate(candidate, PLAN, convert=convert)


@pytest.mark.parametrize(
    "change",
    [
        {"scales": torch.full((7, 1), 1e-39)},  # 0 where denormals are flushed
        {"lows": torch.full((7, 1), np.inf)},
        {"lows": torch.zeros(1, 1)},
    ],
    ids=["denormal scale", "infinite edge", "one edge for all"],
)
def test_what_has_no_bound_is_no_encoding(change: dict[str, torch.Tensor]) -> None:
    """Its network is not taken for one with a derived bound."""
    other = network()
    for name, tensor in change.items():
        setattr(other.encoding, name, tensor)
    assert find_network(capture_program(Deployed(other), SCHEMA)) is None


def flush(values: Float32Matrix) -> Float32Matrix:
    """Set denormal numbers to 0."""
    return np.where(np.abs(values) < np.finfo(np.float32).tiny, np.float32(0), values)


def flushing(encoder: Encoder, rows: Float32Matrix) -> Float32Matrix:
    """Encode as an engine that reads and writes denormal numbers as 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        difference = flush(flush(rows[:, encoder.positions]) - flush(encoder.lows))
        return np.clip(flush(difference * encoder.scales), 0, 1)


EDGE = st.floats(-LARGEST, LARGEST, width=32) | st.floats(-1, 1, width=32)


@given(st.lists(EDGE, min_size=3, max_size=9, unique=True), st.integers(0, 2**32 - 1))
def test_no_evaluation_leaves_the_bound(numbers: list[float], seed: int) -> None:
    """At edges, between and beyond them, denormal or huge: each bin is within its bound."""
    edges = np.sort(np.array(numbers, np.float32))
    widths = np.diff(edges.astype(np.float64))
    usable = (widths >= 2.0**-100) & (widths <= 2.0**125)
    lows = edges[:-1][usable]
    scales = (1 / widths[usable]).astype(np.float32)
    encoder = Encoder(np.zeros(len(lows), np.int64), lows, scales)
    random = np.random.default_rng(seed)
    between = edges[0] / 2 + random.random(50) * (edges[-1] / 2 - edges[0] / 2)
    with np.errstate(over="ignore"):
        around = [np.nextafter(edges, np.float32(side)) for side in (-np.inf, np.inf)]
    tiny = [0.0, -0.0, 1e-45, -1e-38, LARGEST, -LARGEST, np.inf, -np.inf]
    rows = np.concatenate([edges, *around, between, tiny]).astype(np.float32)[:, None]
    expected = encoder.enclose(rows)
    assert np.array_equal(expected.value, encoder.evaluate(rows))
    encoded = slice(1, None)
    for got in (encoder.transform(rows)[:, encoded], flushing(encoder, rows)):
        error = np.abs(got - expected.value[:, encoded])
        assert (error <= expected.error[:, encoded]).all()
    assert expected.error.max(initial=0) < 2.0**-22


def test_the_bound_of_a_bin_is_tight() -> None:
    """Two roundings of the number itself: the worst error comes near it."""
    edges = (np.array([number], np.float32) for number in (0.1, 1 / 0.7))
    encoder = Encoder(np.zeros(1, np.int64), *edges)
    rows = np.linspace(0.1, 0.8, 4096, dtype=np.float32)[:, None]
    expected = encoder.enclose(rows)
    error = np.abs(encoder.transform(rows) - expected.value)[:, 1]
    assert np.nanmax(error / expected.error[:, 1]) > 0.5


def test_rows_at_edges_are_inside_the_ranges() -> None:
    """Each edge, the number before and the number after it, as far as training saw such."""
    ranges = ranges_of(SCHEMA)
    drawn = draw_bin_edges(ranges, {0: np.array([-3, 0, 0.5], np.float32)})
    assert set(drawn[:, 0]) == {
        *(np.float32(each) for each in (-3, 0, 0.5)),
        *(np.nextafter(np.float32(each), np.float32(9)) for each in (-3, 0, 0.5)),
        *(np.nextafter(np.float32(each), np.float32(-9)) for each in (0, 0.5)),
    }
    assert (drawn[:, 3] >= ranges.low[3]).all()
    assert (drawn[:, 1] + drawn[:, 2] == 1).all()
    uniform = draw_uniform(ranges, np.random.default_rng(0), 8)
    assert drawn.shape[1] == uniform.shape[1]


def test_a_bin_in_place_of_a_huge_number_keeps_the_bound_narrow() -> None:
    """The number itself has weights of 0: its size brings no error, whether tiny ones are lost."""
    lows, width = torch.tensor([3e38]), 2.0**115
    encoding = PiecewiseLinearEncoding(
        torch.tensor([0]), lows[:, None], torch.tensor([[1 / width]])
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        layers = SimpleNet(2, 2, (8,)).requires_grad_(requires_grad=False)
    layers.linear_layers()[0].weight[:, 0] = 0
    model = prepend_stages(layers, None, encoding).eval()
    rows = np.array([[3e38], [3e38 + width / 2]], np.float32)
    enclosed = enclose_logits(layers_of(model), rows, preprocessing=preprocessing_of(model))
    assert enclosed.error.max() < 1e-5
    got = model(torch.from_numpy(rows)).numpy()
    assert (np.abs(got - enclosed.value) <= enclosed.error).all()
    assert abs(got[1] - got[0]).max() > 0.01
