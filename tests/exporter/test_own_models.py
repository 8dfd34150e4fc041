from __future__ import annotations

import json
import pickle
import re
import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from exporter.bundling import convert_candidate, export_candidate, export_model
from exporter.cli import app
from exporter.formats.program import capture_program
from exporter.parity import rows as parity_rows
from exporter.parity.report import Report
from exporter.parity.rows import Plan
from exporter.parity.sampling import ranges_of, sample_inside
from exporter.reference.capture import find_network
from exporter.reference.measured import MARGIN
from exporter.source.candidate import candidate_from_module
from exporter.source.factory import ModelSource, make_model, read_schema
from exporter.verify import verify_bundle
from runtime.bundle.manifest import PARITY
from runtime.errors import OnnxferryError, ParityError, SchemaError, UsageError
from runtime.predictor import Predictor
from runtime.schema.features import Feature, Schema
from runtime.terminal.manifest import format_manifest
from trainer.data.dataset import LabelledRows

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from exporter.formats.model_files import ModelFiles
    from exporter.reference.oracle import Reference
    from exporter.source.candidate import Candidate

pytestmark = pytest.mark.slow

RANGES = (("a", -3.0, 3.0), ("b", 0.0, 1000.0), ("c", -1.0, 1.0))
SCHEMA = Schema("kind", tuple(Feature(*each) for each in RANGES), ("w", "x", "y", "z"))
QUICK = Plan(uniform=4096, boundary=512, small=64, medium=1024)


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 16),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Flatten(),
        nn.Linear(16, 8, bias=False),
        nn.ReLU(inplace=True),
        nn.Identity(),
        nn.Linear(8, 4),
    ).eval()


class Standardised(nn.Module):
    """Statistics as buffers, then layers that no bound is derived for."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.0, 500.0, 0.0]))
        self.register_buffer("std", torch.tensor([2.0, 300.0, 0.5]))
        self.layers = nn.Sequential(nn.Linear(3, 16), activation, nn.Linear(16, 4))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers((features - self.mean) / self.std)
        return scores


def gelu() -> nn.Module:
    return Standardised(nn.GELU()).eval()


def normalised() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 4))
    with torch.no_grad():
        model(torch.randn(64, 3) * 100)  # statistics as after some training
    return model.eval()


class Scored(nn.Module):
    """One layer, with an operation on its input or its scores."""

    def __init__(self, change: Callable[[nn.Module, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.change = change

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.change(self.linear, features)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(3)


@pytest.mark.parametrize("make", [chain, gelu, normalised], ids=lambda make: make.__name__)
def test_an_own_model_becomes_a_proven_bundle(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    """It passes the same matrix, is verified again from its files, and serves."""
    model = make()
    exported = export_model(model, SCHEMA, tmp_path / "bundle", name="mine", plan=QUICK)
    expected = "derived" if make is chain else "measured"
    assert exported.report
    assert exported.report.tolerance == expected
    assert 0 < exported.report.worst_error_over_bound < 1
    assert ("numpy" in exported.report.backends) == (make is chain)
    again = verify_bundle(exported.path, plan=QUICK)
    assert again
    assert again.tolerance == expected
    features = sample_inside(ranges_of(SCHEMA))[:100]
    with torch.inference_mode():
        scores = model(torch.from_numpy(features)).numpy()
    found = Predictor(exported.path).run(features)
    np.testing.assert_allclose(found.logits, scores, atol=1e-4)
    assert "elsewhere" in format_manifest(exported.manifest)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda linear, x: linear((x > 0).to(x.dtype)), id="a cast"),
        pytest.param(
            lambda linear, x: linear(x + torch.zeros(x.shape[0], 3, dtype=x.dtype)), id="zeros"
        ),
        pytest.param(
            lambda linear, x: linear(x @ torch.tensor([[0.1] * 3] * 3, dtype=x.dtype)),
            id="a constant",
        ),
    ],
)
def test_a_model_that_takes_dtypes_from_its_input_is_proven_again(
    change: Callable[[nn.Module, torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    """A captured module with fixed dtypes is measured in float64, too."""
    exported = export_model(Scored(change).eval(), SCHEMA, tmp_path / "bundle", plan=QUICK)
    assert exported.report.tolerance == "measured"
    again = verify_bundle(exported.path, plan=QUICK)
    assert again
    assert again.tolerance == "measured"


def test_a_model_whose_weights_are_no_parameters_is_measured(tmp_path: Path) -> None:
    """Weights may be buffers alone; what is exact is float64 then, too."""
    model = Scored(lambda linear, x: nn.functional.gelu(linear(x)))
    weight = model.linear.weight.detach()
    del model.linear.weight, model.linear.bias
    model.linear.register_buffer("weight", weight)
    model.linear.register_buffer("bias", torch.zeros(4))
    assert export_model(model.eval(), SCHEMA, tmp_path / "bundle", plan=QUICK).report


def test_a_measured_tolerance_is_marked_in_the_stored_proof(tmp_path: Path) -> None:
    """Proof, page and messages state that the tolerance was measured."""
    exported = export_model(gelu(), SCHEMA, tmp_path / "bundle", plan=QUICK)
    stored = json.loads((exported.path / PARITY).read_bytes())
    assert stored["tolerance"] == "measured"


def test_layers_are_read_from_the_graph() -> None:
    """A missing bias is zeros; dropout in evaluation mode and shapes kept change nothing."""
    model = chain()
    layers = candidate_from_module(model, SCHEMA, name="mine").reference.layers
    weights = [model[0], model[4], model[7]]  # type: ignore[index]
    assert len(layers) == 3
    for layer, linear in zip(layers, weights, strict=True):
        assert np.array_equal(layer.weight, linear.weight.detach().numpy())
        bias = 0 if linear.bias is None else linear.bias.detach().numpy()
        assert np.array_equal(layer.bias, np.zeros(len(layer.weight), np.float32) + bias)


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(3, 4), nn.ReLU()),
        nn.Sequential(nn.ReLU(), nn.Linear(3, 4)),
        nn.Sequential(nn.Linear(3, 8), nn.Linear(8, 4)),
        nn.Sequential(nn.Linear(3, 8), nn.ReLU6(), nn.Linear(8, 4)),
        nn.Sequential(nn.Linear(3, 8), nn.LeakyReLU(), nn.Linear(8, 4)),
        nn.Sequential(nn.LayerNorm(3), nn.Linear(3, 4)),
        Scored(lambda linear, features: linear(features) * 2),
        Scored(lambda linear, features: linear(features * 2)),
        Scored(lambda linear, features: linear(features.flip(1))),
    ],
    ids=[
        "relu after the last",
        "relu before the first",
        "two linear",
        "relu6",
        "leaky",
        "layer norm",
        "scaled scores",
        "scaled features",
        "swapped features",
    ],
)
def test_what_is_no_chain_is_not_taken_for_one(model: nn.Module) -> None:
    """A bound that was derived from the layers alone would be a bound of another model."""
    from exporter.formats.deployed import Deployed

    deployed = Deployed(model).eval().requires_grad_(requires_grad=False)
    assert find_network(capture_program(deployed, SCHEMA)) is None


def measured() -> Candidate:
    return candidate_from_module(gelu(), SCHEMA, name="mine")


def in_bfloat16(files: ModelFiles) -> ModelFiles:
    model = onnx.load_from_string(files.onnx)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            rounded = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
    return with_files(files, onnx=model.SerializeToString())


def with_files(files: ModelFiles, **changed: bytes) -> ModelFiles:
    return type(files)(**{**vars(files), **changed})


def in_float16(files: ModelFiles) -> ModelFiles:
    model = onnx.load_from_string(files.onnx)
    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            rounded = values.astype(np.float16).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(rounded, tensor.name))
    return with_files(files, onnx=model.SerializeToString())


def tanh_approximation(files: ModelFiles) -> ModelFiles:
    other = Standardised(nn.GELU(approximate="tanh"))
    other.load_state_dict(gelu().state_dict())
    candidate = candidate_from_module(other.eval(), SCHEMA, name="mine")
    return with_files(files, onnx=convert_candidate(candidate).onnx)


@pytest.mark.parametrize("fault", [in_bfloat16, in_float16, tanh_approximation])
def test_a_fault_leaves_a_measured_tolerance(
    fault: Callable[[ModelFiles], ModelFiles], tmp_path: Path
) -> None:
    """Half precision and approximations are far outside what float32 was measured to lose."""
    candidate = measured()
    torch.manual_seed(3)  # as for the candidate
    wrong = fault(convert_candidate(candidate))
    with pytest.raises(ParityError, match="onnx-cpu-all-1 at batch 1: "):
        export_candidate(candidate, tmp_path / "out", convert=lambda _: wrong, plan=QUICK)
    assert not (tmp_path / "out").exists()


def test_the_measured_tolerance_is_a_few_float32_steps() -> None:
    """The tolerance is tight: a few hundred roundings of the largest logit, on every row inside."""
    reference: Reference = measured().reference
    expected = reference.evaluate(sample_inside(ranges_of(SCHEMA)))
    largest = np.abs(expected.logits.value).max()
    assert (expected.logits.error > 0).all()
    assert expected.logits.error.max() < 20 * MARGIN * 2**-24 * largest


def test_a_model_that_changes_its_input_hides_no_fault(tmp_path: Path) -> None:
    """Each backend gets rows of its own, not those that the one before has clipped."""
    model = Scored(lambda linear, x: linear(x.clamp_(-1, 1))).eval()
    candidate = candidate_from_module(model, SCHEMA, name="mine")
    right = convert_candidate(candidate)
    export_candidate(candidate, tmp_path / "right", convert=lambda _: right, plan=QUICK)
    model.change = lambda linear, x: linear(x)
    unclipped = convert_candidate(candidate_from_module(model, SCHEMA, name="mine"))
    wrong = with_files(right, onnx=unclipped.onnx)
    with pytest.raises(ParityError, match="onnx-cpu-all-1 at batch 1: "):
        export_candidate(candidate, tmp_path / "out", convert=lambda _: wrong, plan=QUICK)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda linear, x: linear(x) * float("nan"), id="all NaN"),
        pytest.param(lambda linear, x: linear(x) + torch.log(x[:, :1]), id="some NaN"),
        pytest.param(lambda linear, x: torch.log(torch.relu(linear(x))), id="some infinite"),
    ],
)
def test_a_model_without_a_finite_answer_inside_the_ranges_is_refused(
    change: Callable[[nn.Module, torch.Tensor], torch.Tensor], tmp_path: Path
) -> None:
    """Agreement of all backends on NaN is refused, and is no golden row."""
    with pytest.raises(ParityError, match=r"returns NaN or an infinity on \d+ of \d+ rows inside"):
        export_model(Scored(change).eval(), SCHEMA, tmp_path / "out", plan=QUICK)
    assert not (tmp_path / "out").exists()


def test_a_measured_tolerance_that_leaves_labels_undecidable_is_refused(tmp_path: Path) -> None:
    """Where float32 loses the digits that decide, agreement proves nothing."""
    # A factor that float32 cannot bear, but float64 can, whatever kernels the CPU has.
    model = Scored(lambda linear, x: torch.sin(linear(x) * 500)).eval()
    said = (
        r"measured tolerances are so wide that \S+ of \S+ rows inside .*%, at most 1% are allowed"
    )
    with pytest.raises(ParityError, match=said):
        export_model(model, SCHEMA, tmp_path / "out", plan=QUICK)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("model", "tolerance"),
    [
        (nn.Identity(), "measured"),
        (nn.ReLU(), "measured"),
        (nn.Linear(4, 4), "derived"),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4, bias=False)), "derived"),
    ],
    ids=["identity", "relu", "one layer", "one layer without bias"],
)
def test_the_smallest_models_are_exported(model: nn.Module, tolerance: str, tmp_path: Path) -> None:
    """Logits may be the features themselves; exact ties are not counted as imprecision."""
    schema = Schema("kind", tuple(Feature(name, -3, 3) for name in "abcd"), SCHEMA.classes)
    report = export_model(model.eval(), schema, str(tmp_path / "out"), plan=QUICK).report
    assert report.tolerance == tolerance
    assert verify_bundle(str(tmp_path / "out"), plan=QUICK)
    assert Predictor(tmp_path / "out").predict([[1, 2, 3, 0]]).label.shape == (1,)


def test_derived_bounds_that_leave_labels_undecidable_are_refused(tmp_path: Path) -> None:
    """Bounds grow with every layer; those of a deep network without training decide nothing."""
    layers = [layer for _ in range(30) for layer in (nn.ReLU(), nn.Linear(32, 32))]
    model = nn.Sequential(nn.Linear(3, 32), *layers, nn.ReLU(), nn.Linear(32, 4)).eval()
    with pytest.raises(ParityError, match=r"derived tolerances are so wide that .*at most 25% are"):
        export_model(model, SCHEMA, tmp_path / "out", plan=QUICK)


def test_rows_where_float32_breaks_down_are_not_checked() -> None:
    """Outside the ranges there is no bound where float32 overflows; inside, there always is."""
    reference = measured().reference
    features = np.array([[3e38, 3e38, 3e38], [0, 1, 0], [np.nan, 0, 0]], np.float32)
    expected = reference.evaluate(features)
    assert expected.bounded.tolist() == [False, True, True]
    assert expected.special.tolist() == [False, False, True]


class Recurrent(nn.Module):
    """Reads the features one after another."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.linear = nn.Linear(4, 4)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.linear(self.layer(features.unsqueeze(2))[0][:, -1])
        return scores


class Attending(nn.Module):
    """Attention between the features."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(1, 1, dropout=0.5, batch_first=True)
        self.linear = nn.Linear(3, 4)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        each = features.unsqueeze(2)
        scores: torch.Tensor = self.linear(self.attention(each, each, each)[0].flatten(1))
        return scores


@pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export")
def test_a_recurrent_model_is_proven(tmp_path: Path) -> None:
    """It draws no random numbers, though torch marks its operation so."""
    model = Recurrent(nn.RNN(1, 4, batch_first=True)).eval()
    exported = export_model(model, SCHEMA, tmp_path / "bundle", plan=QUICK)
    assert exported.report.tolerance == "measured"
    assert verify_bundle(exported.path, plan=QUICK)


@pytest.mark.filterwarnings("ignore:The tensor attributes .* were assigned during export")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_layers_that_end_the_process_are_refused(
    kind: Callable[..., nn.RNNBase], tmp_path: Path
) -> None:
    """Onnxruntime aborts on them for an empty batch, so no message could be printed later."""
    model = Recurrent(kind(1, 4, batch_first=True)).eval()
    with pytest.raises(UsageError, match=r"at layer \(aten\.\w+\) on which onnxruntime aborts"):
        export_model(model, SCHEMA, tmp_path / "out", plan=QUICK)


class Reading(Scored):
    """Branches on its own training mode."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.change(self.linear, features) if self.training else self.linear(features)


def fail(*_: object) -> torch.Tensor:
    raise ValueError("no targets given")


TRAINING = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
REFUSED: dict[str, tuple[nn.Module, type[OnnxferryError], str]] = {
    "dropout in training mode": (
        nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5)),
        UsageError,
        r"training mode: 1 \(Dropout\); call eval\(\)",
    ),
    "dropout inside a layer in training mode": (
        Attending(),
        UsageError,
        r"training mode: attention \(MultiheadAttention\); call eval\(\)",
    ),
    "batch norm in training mode": (TRAINING, UsageError, r"training mode: 1 \(BatchNorm1d\)"),
    "dropout as a function, in training mode": (
        Reading(lambda linear, x: nn.functional.dropout(linear(x), 0.1)),
        UsageError,
        r"training mode, and its outputs differ in evaluation mode: call eval\(\)",
    ),
    "other answers in training mode": (
        Reading(lambda linear, x: (linear(x), x)),  # type: ignore[return-value, arg-type]
        UsageError,
        r"training mode, and its outputs differ in evaluation mode: call eval\(\)",
    ),
    "no answer in training mode": (
        Reading(fail),
        UsageError,
        r"training mode and fails there: no targets given; call eval\(\)",
    ),
    "dropout as a function": (
        Scored(lambda linear, x: nn.functional.dropout(linear(x), 0.5, training=True)),
        UsageError,
        r"training mode at \S+ \(aten\.dropout\)",
    ),
    "batch norm over the batch": (
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False)).eval(),
        UsageError,
        r"training mode at 1 \(aten\.batch_norm\)",
    ),
    "random numbers": (
        Scored(lambda linear, x: linear(x) + torch.randn(4)),
        UsageError,
        "draws random numbers",
    ),
    "rows mixed": (
        Scored(lambda linear, x: linear(x - x.mean(0))),
        UsageError,
        "the output for row 0 depends on the rest of the batch",
    ),
    "a branch on values": (
        Scored(lambda linear, x: linear(x) if x.sum() > 0 else linear(-x)),
        UsageError,
        "torch.export cannot capture the model",
    ),
    "float64 weights": (nn.Linear(3, 4).double(), UsageError, r"torch.float64 weights"),
    "rows that cannot be looked up": (
        Scored(lambda linear, x: linear(x) + torch.eye(7, 4, dtype=x.dtype)[x[:, 0].long() + 3]),
        UsageError,
        r"cannot compute some rows, such as \[.*\]: index .* out of .*; it must accept any numbers",
    ),
    "zeros that cannot be looked up": (
        Scored(lambda linear, x: linear(x) + torch.eye(2, 4, dtype=x.dtype)[x[:, 0].long() + 3]),
        UsageError,
        "cannot compute rows of zeros: index .* out of .*; it must accept any numbers",
    ),
    "other features": (nn.Linear(2, 4), UsageError, "rows of 3 features"),
    "other classes": (nn.Linear(3, 5), SchemaError, r"shape \(5, 5\); the schema has 4 classes"),
    "scores of another rank": (
        Scored(lambda linear, x: linear(x).sum(dim=1)),
        SchemaError,
        r"shape \(5,\); the schema has 4 classes",
    ),
    "rows and classes swapped": (
        Scored(lambda linear, x: linear(x).T),
        SchemaError,
        r"for 5 rows .* of shape \(4, 5\); .* it must be torch.float32 of shape \(5, 4\)",
    ),
    "another shape for one row": (
        Scored(lambda linear, x: linear(x).squeeze()),
        UsageError,
        r"for 64 rows the model returns shape \(64, 4\), but for one \(4,\): it must be \(batch",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_models_that_cannot_be_deployed_are_refused(
    what: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """One message says what to change; nothing is written and torch prints nothing."""
    model, error, reason = REFUSED[what]
    with pytest.raises(error, match=reason):
        export_model(model, SCHEMA, tmp_path / "out", plan=QUICK)
    assert not (tmp_path / "out").exists()
    assert capfd.readouterr() == ("", "")


def test_training_mode_that_makes_no_difference_is_accepted() -> None:
    """Also where the module reads its mode; the global random state does not change."""
    for model in (Reading(lambda linear, x: linear(x)), Attending()):
        if isinstance(model, Attending):
            model.attention.dropout = 0.0
        before = torch.get_rng_state()
        assert candidate_from_module(model, SCHEMA, name="mine").reference.tolerance
        assert torch.equal(torch.get_rng_state(), before)


def test_nothing_of_the_model_is_changed(tmp_path: Path) -> None:
    """The user's module stays as it was: in training mode, with gradients."""
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    export_model(model, SCHEMA, tmp_path / "out", plan=QUICK)
    assert model.training
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_test_rows_take_part_in_the_proof(tmp_path: Path) -> None:
    """Rows that are given with the model are the known rows of its proof."""
    features = sample_inside(ranges_of(SCHEMA))[:30]
    test = LabelledRows(features, np.arange(30, dtype=np.int64) % 4)
    report = export_model(chain(), SCHEMA, tmp_path / "out", test=test, plan=QUICK).report
    assert (report.groups[0].name, report.groups[0].rows) == ("known", 30)


@pytest.mark.parametrize(
    ("features", "labels"),
    [
        (np.zeros((3, 2), np.float32), np.zeros(3, np.int64)),
        (np.zeros((3, 3), np.float32), np.zeros(2, np.int64)),
        (np.zeros((3, 3), np.float32), np.full(3, 4)),
        (np.zeros((3, 3), np.float32), np.full(3, -1)),
    ],
    ids=["features", "rows", "too large", "negative"],
)
def test_test_rows_that_do_not_fit_are_refused(
    features: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    """Labels are positions of the schema's classes, one for each row."""
    with pytest.raises(SchemaError, match="do not fit 3 features and labels from 0 to 3"):
        export_model(chain(), SCHEMA, tmp_path / "out", test=LabelledRows(features, labels))


# ---- What the command line names ------------------------------------------------------------

FACTORIES = """
import torch
from torch import nn

def net():
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4)).eval()

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))

ready = net()

def number():
    return 3

def broken():
    raise ValueError("no such option")
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with factories, weights and a schema."""
    (tmp_path / "shop.py").write_text(FACTORIES)
    (tmp_path / "schema.json").write_text(SCHEMA.to_json())
    net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
    torch.save(net.state_dict(), tmp_path / "net.pt")
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    torch.save(nn.Linear(3, 4).state_dict(), tmp_path / "other.pt")
    torch.save(nn.Sequential(nn.Linear(2, 8)).state_dict(), tmp_path / "narrow.pt")
    torch.save(net, tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(net.state_dict()))
    (tmp_path / "noise.pt").write_bytes(b"noise")
    (tmp_path / "noise.safetensors").write_bytes(b"noise")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shop", raising=False)
    return tmp_path


@pytest.mark.parametrize("factory", ["shop:net", "shop:Net", "shop:ready"])
@pytest.mark.parametrize("weights", ["net.pt", "net.safetensors"])
def test_a_factory_and_its_weights_make_a_model(shop: Path, factory: str, weights: str) -> None:
    """Functions, classes and modules will do, and both kinds of files."""
    model = make_model(factory, shop / weights)
    expected = torch.load(shop / "net.pt", weights_only=True)
    assert all(torch.equal(model.state_dict()[name], expected[name]) for name in expected)


@pytest.mark.parametrize(
    ("factory", "weights", "code", "reason"),
    [
        ("shop", "net.pt", 2, "package.module:factory"),
        ("nowhere:net", "net.pt", 2, "No module named 'nowhere'"),
        ("shop:nothing", "net.pt", 2, "nothing"),
        ("shop:number", "net.pt", 2, "returns a int, not a torch.nn.Module"),
        ("shop:broken", "net.pt", 2, "ValueError: no such option"),
        ("shop:net", "missing.pt", 4, "cannot read missing.pt"),
        ("shop:net", "missing.safetensors", 4, "cannot read missing.safetensors"),
        ("shop:net", "noise.pt", 4, "noise.pt"),
        ("shop:net", "noise.safetensors", 4, "no readable weights"),
        (
            "shop:net",
            "whole.pt",
            4,
            r"holds an object of class torch.nn.*, and nothing else than tensors",
        ),
        ("shop:net", "plain.pt", 4, r"not a state dict, and nothing else than tensors"),
        ("shop:net", "list.pt", 4, "not a state dict"),
        ("shop:net", "other.pt", 4, "missing 0.weight"),
        ("shop:net", "narrow.pt", 4, "size mismatch for 0.weight"),
    ],
)
def test_a_model_that_cannot_be_made_is_one_message(
    shop: Path, factory: str, weights: str, code: int, reason: str
) -> None:
    """Exit 2 for a factory, 4 for weights; the message names the culprit."""
    assert shop.is_dir()
    options = ["--model", factory, "--weights", weights, "--schema", "schema.json", "--out", "b"]
    done = CliRunner().invoke(app, ["export", *options])
    assert isinstance(done.exception, OnnxferryError)
    assert done.exception.exit_code == code
    assert re.search(reason, str(done.exception))
    assert "\n" not in str(done.exception)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "cannot read"),
        ("{", "is not a valid schema"),
        ('{"target": "y"}', "missing required field `features`"),
        (SCHEMA.to_json().replace('"w"', '"x"'), "class names appear twice: x"),
        (SCHEMA.to_json().replace("-3.0", "30.0"), "minimum 30.0 > 3.0"),
    ],
    ids=["missing", "cut", "no features", "classes", "range"],
)
def test_a_schema_that_is_none_is_refused(text: str | None, reason: str, tmp_path: Path) -> None:
    """The message names the place and shows what a schema looks like."""
    path = tmp_path / "schema.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SchemaError, match=reason):
        read_schema(path)


@pytest.mark.parametrize(
    "options",
    [
        {"weights": "w"},
        {"model": "a:b", "weights": "w"},
        {"model": "a:b", "schema": "s"},
        {"model": "a:b", "weights": "w", "schema": "s", "run": "r"},
    ],
    ids=["weights alone", "no schema", "no weights", "a run too"],
)
def test_options_that_do_not_fit_together_are_refused(options: dict[str, str]) -> None:
    """A run or a model, and all that belongs to it."""
    with pytest.raises(UsageError):
        ModelSource(**options)  # type: ignore[arg-type]


def test_the_command_exports_a_model_of_ones_own(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One command line, a proven bundle that carries the factory's name."""
    monkeypatch.setattr(parity_rows, "FULL", QUICK)
    options = ["--model", "shop:net", "--weights", "net.pt", "--schema", "schema.json"]
    done = CliRunner().invoke(app, ["export", *options, "--out", "bundle", "--json"])
    assert done.exit_code == 0, done.exception
    assert json.loads(done.stdout)["tolerance"] == "derived"
    manifest = Predictor(shop / "bundle").manifest
    assert (manifest.model.name, manifest.provenance.seed) == ("net", None)
    report = msgspec.json.decode((shop / "bundle" / PARITY).read_bytes(), type=Report)
    assert report


def test_the_message_of_a_failure_repeats_the_model(shop: Path) -> None:
    """The command that shows a failure again names factory, weights and schema."""
    source = ModelSource(model="shop:net", weights=shop / "net.pt", schema=shop / "a b.json")
    assert source.command == (
        f"exporter export --model shop:net --weights {shop}/net.pt --schema '{shop}/a b.json'"
    )


TALKING = """
import ctypes
import os
import torch
from torch import nn

print("imported")

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 4))
        print("made")
        os.write(1, b"written\\n")
        ctypes.CDLL(None).puts(b"put")

    def forward(self, x):
        print("ran", tuple(x.shape))
        return super().forward(x)
"""


@pytest.mark.parametrize("options", [["--json"], []], ids=["json", "text"])
def test_a_module_that_prints_leaves_stdout_to_the_result(
    options: list[str],
    shop: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Its prints go to stderr, those of C libraries too; stdout is one object, or the folder."""
    (shop / "talking.py").write_text(TALKING)
    monkeypatch.delitem(sys.modules, "talking", raising=False)
    monkeypatch.setattr("exporter.parity.rows.FULL", QUICK)
    given = ["--model", "talking:Net", "--weights", "net.pt", "--schema", "schema.json"]
    app(["export", *given, "--out", "bundle", *options], standalone_mode=False)
    captured = capfd.readouterr()
    if options:
        assert json.loads(captured.out)["passed"]
    else:
        assert captured.out == "bundle\n"
    for line in ("imported", "made", "written", "put", "ran (2, 3)"):
        assert f"{line}\n" in captured.err
