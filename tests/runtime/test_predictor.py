from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from runtime.bundle.manifest import MANIFEST, ONNX_MODEL
from runtime.bundle.reading import digest
from runtime.errors import ArtifactError, DataError, SchemaError, UnavailableError, UsageError
from runtime.predictor import Predictor

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from runtime.scoring.prediction import Prediction

MATRIX = np.array([[7.5, 3.0], [1.0, 1.0], [9.99, 4.99]])


def assert_same(got: Prediction, expected: Prediction) -> None:
    """Two predictions agree to the bit."""
    assert got.label.tolist() == expected.label.tolist()
    assert got.probability.tobytes() == expected.probability.tobytes()
    assert got.probabilities.tobytes() == expected.probabilities.tobytes()


def test_a_prediction_names_classes_and_their_probabilities(predictor: Predictor) -> None:
    """Labels are class names, the probability is that of the label."""
    found = predictor.predict(MATRIX)
    assert found.label.shape == found.probability.shape == (3,)
    assert found.probabilities.shape == (3, 2)
    assert found.probability.dtype == found.probabilities.dtype == np.float32
    for row in range(3):
        position = predictor.schema.classes.index(found.label[row])
        assert found.probability[row] == found.probabilities[row, position]


@pytest.mark.parametrize(
    "features",
    [
        pytest.param(MATRIX.tolist(), id="lists"),
        pytest.param(MATRIX.astype(np.float32), id="float32"),
        pytest.param(np.asfortranarray(MATRIX), id="columns first"),
        pytest.param(MATRIX.astype(object), id="objects"),
        pytest.param(np.repeat(MATRIX, 2, axis=0)[::2], id="not contiguous"),
        pytest.param(MATRIX.astype(">f8"), id="big-endian"),
    ],
)
def test_any_matrix_of_the_same_numbers_gives_the_same_bits(
    predictor: Predictor, features: npt.ArrayLike
) -> None:
    """The memory layout of a matrix does not matter."""
    assert_same(predictor.predict(features), predictor.predict(MATRIX))


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.float16, np.bool_])
def test_other_numbers_are_read_exactly(predictor: Predictor, dtype: type) -> None:
    """Integers and float16 are accepted."""
    matrix = np.array([[1, 0], [1, 1]])
    assert_same(predictor.predict(matrix.astype(dtype)), predictor.predict(matrix.astype(float)))


def test_a_value_is_rounded_once(predictor: Predictor) -> None:
    """A float64 matrix is rounded to float32 like the cells of tables."""
    value = 7.500000238418579  # between two float32
    rounded = np.float32(value)
    assert_same(predictor.predict([[value, 3]]), predictor.predict([[float(rounded), 3]]))


def test_no_rows_give_no_answers(predictor: Predictor) -> None:
    """An empty matrix has an empty prediction."""
    found = predictor.predict(np.zeros((0, 2)))
    assert found.label.shape == (0,)
    assert found.probabilities.shape == (0, 2)


@pytest.mark.parametrize(
    "features", [[1.0, 2.0], [[1.0]], [[1.0, 2.0, 3.0]], [], np.float64(5), [[[1.0, 2.0]]]]
)
def test_another_shape_is_refused(predictor: Predictor, features: npt.ArrayLike) -> None:
    """A matrix of another width is a ``SchemaError`` that names the features."""
    with pytest.raises(SchemaError, match=r"expected rows of 2 features \(price, rating\)"):
        predictor.predict(features)


@pytest.mark.parametrize("table", ["in.csv", Path("in.csv"), None, 5, {1, 2}, iter([])])
def test_another_object_is_refused(predictor: Predictor, table: object) -> None:
    """The message names its type and what is taken."""
    with pytest.raises(
        UsageError, match=r"^a \w+ cannot be predicted: give a table of pandas, .*dict"
    ):
        predictor.predict(table)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39, -1e300])
def test_a_value_that_is_not_finite_is_refused(predictor: Predictor, value: float) -> None:
    """NaN, infinity and values beyond float32 are refused with row and column."""
    with pytest.raises(DataError, match="row 1, column 'rating'"):
        predictor.predict(np.array([[1, 2], [3, value]]))


@pytest.mark.parametrize(
    "features",
    [
        pytest.param([["1", "2"]], id="text"),
        pytest.param(np.array([["1_0", 2]], dtype=object), id="text among objects"),
        pytest.param([[None, 2]], id="None"),
        pytest.param([[1, 2], [3]], id="ragged"),
        pytest.param([[1j, 2]], id="complex"),
        pytest.param(np.array([["2020-01-01", "2020-01-02"]], dtype="M8[D]"), id="dates"),
        pytest.param([[b"1", b"2"]], id="bytes"),
    ],
)
def test_what_is_no_number_is_refused(predictor: Predictor, features: npt.ArrayLike) -> None:
    """Text in a matrix is refused."""
    with pytest.raises(DataError, match=r"not numbers|not a matrix"):
        predictor.predict(features)


def test_an_answer_that_is_not_finite_is_refused(make_bundle: Callable[..., Path]) -> None:
    """A model that overflows on finite features is an error."""
    predictor = Predictor(make_bundle(scale=1e6), provider="cpu", check=False)
    with pytest.raises(DataError, match="row 1: the model has no finite prediction"):
        predictor.predict(np.array([[1, 2], [3e38, 3e38]]))


def test_columns_are_taken_by_name(predictor: Predictor) -> None:
    """The order of columns and other columns do not matter."""
    columns = {"name": ["a", "b", "c"], "rating": MATRIX[:, 1].tolist(), "price": MATRIX[:, 0]}
    assert_same(predictor.predict(columns), predictor.predict(MATRIX))


@pytest.mark.parametrize(
    ("columns", "error", "said"),
    [
        ({"Price": [1.0], "rating": [1.0]}, SchemaError, "the table has 'Price'"),
        ({"price": [1.0]}, SchemaError, "'rating' is missing"),
        ({"price": [1.0, 2.0], "rating": [1.0]}, DataError, "equally long"),
        ({"price": 1.0, "rating": [1.0]}, DataError, "one-dimensional"),
        ({"price": [[1.0]], "rating": [[1.0]]}, DataError, "one-dimensional"),
        ({"price": ["x"], "rating": [1.0]}, DataError, "row 0, column 'price': 'x'.*not a number"),
        ({"price": [1.0, None], "rating": [1, 2]}, DataError, "row 1, column 'price'.*missing"),
        ({"price": [1.0], "rating": [np.nan]}, DataError, "row 0, column 'rating'"),
    ],
)
def test_columns_that_do_not_fit_are_refused(
    predictor: Predictor, columns: dict[str, Any], error: type[Exception], said: str
) -> None:
    """A missing, uneven or unreadable column is named."""
    with pytest.raises(error, match=said):
        predictor.predict(columns)


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a bundle's manifest."""
    values = json.loads((folder / MANIFEST).read_bytes())
    change(values)
    (folder / MANIFEST).write_text(json.dumps(values))


@pytest.mark.parametrize("needed", ["99.0", "99", "1.999.0", "2.0.0rc1"])
def test_an_engine_that_is_too_old_is_said(bundle_copy: Path, needed: str) -> None:
    """A bundle that needs a newer onnxruntime is not opened."""
    rewrite(bundle_copy, lambda values: values["requires"].update(onnxruntime=needed))
    with pytest.raises(UnavailableError, match=rf"needs onnxruntime {needed} or newer"):
        Predictor(bundle_copy)


def test_versions_are_compared_as_numbers(bundle_copy: Path) -> None:
    """Versions are compared by number: 1.100 is newer than 1.31, 1.9 older."""
    rewrite(bundle_copy, lambda values: values["requires"].update(onnxruntime="1.100"))
    with pytest.raises(UnavailableError, match=r"needs onnxruntime 1\.100 or newer"):
        Predictor(bundle_copy)
    rewrite(bundle_copy, lambda values: values["requires"].update(onnxruntime="1.9"))
    with pytest.raises(ArtifactError, match=r"declares onnxruntime 1\.9, .* that needs 1\.18, 20"):
        Predictor(bundle_copy)


def other_schema(values: dict[str, Any]) -> None:
    """Name another column than the model does."""
    values["schema"]["features"][0]["name"] = "cost"


def other_range(values: dict[str, Any]) -> None:
    """Claim another range than the model does."""
    feature = values["schema"]["features"][0]
    feature["maximum"] = feature["quantiles"][-1] = 1e6


def swapped_classes(values: dict[str, Any]) -> None:
    """Name the classes the other way round."""
    values["schema"]["classes"].reverse()


def other_name(values: dict[str, Any]) -> None:
    """Call the model by another name."""
    values["model"]["name"] = "somebody else's"


def other_opset(values: dict[str, Any]) -> None:
    """Declare an older opset than the model's."""
    values["requires"]["opset"] = 17


def other_ir(values: dict[str, Any]) -> None:
    """Declare an older IR version than the model's."""
    values["requires"]["ir"] = 8


def other_input(values: dict[str, Any]) -> None:
    """Declare another name of the input."""
    values["signature"]["inputs"][0]["name"] = "x"


def swapped_outputs(values: dict[str, Any]) -> None:
    """Declare the outputs in another order."""
    values["signature"]["outputs"].reverse()


def other_width(values: dict[str, Any]) -> None:
    """Declare another width than the schema's."""
    values["signature"]["inputs"][0]["shape"] = [-1, 5]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (other_schema, "another schema"),
        (other_range, "another schema"),
        (swapped_classes, "another schema"),
        (other_name, "another name"),
        (other_opset, "opset 17 and IR 10 for a model that needs 1.18, 20 and 10"),
        (other_ir, "opset 20 and IR 8 for a model that needs 1.18, 20 and 10"),
        (other_input, "the manifest declares"),
        (swapped_outputs, "the manifest declares"),
        (other_width, "another signature than its schema"),
    ],
)
def test_a_manifest_that_the_model_contradicts_is_refused(
    bundle_copy: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    """A manifest that contradicts the model's metadata is refused."""
    rewrite(bundle_copy, change)
    with pytest.raises(ArtifactError, match=said):
        Predictor(bundle_copy)


def test_a_model_of_another_bundle_is_refused(
    bundle_copy: Path, make_bundle: Callable[..., Path]
) -> None:
    """Another model with an updated digest in the manifest is refused."""
    model = (make_bundle(features=("a", "b"), classes=("x", "y")) / ONNX_MODEL).read_bytes()
    (bundle_copy / ONNX_MODEL).write_bytes(model)
    sha256 = digest(model).sha256
    entry = {"sha256": sha256, "size": len(model)}
    rewrite(bundle_copy, lambda values: values["files"].update({ONNX_MODEL: entry}))
    with pytest.raises(ArtifactError, match="not the digest"):
        Predictor(bundle_copy, provider="cpu")
    version = {"version": sha256[:12]}
    rewrite(bundle_copy, lambda values: values["model"].update(version))
    with pytest.raises(ArtifactError, match="another schema"):
        Predictor(bundle_copy)


def test_a_model_that_cannot_take_its_features_is_refused(
    make_bundle: Callable[..., Path], capfd: pytest.CaptureFixture[str]
) -> None:
    """A model of another width than its schema fails when the bundle is opened, in one line."""
    with pytest.raises(ArtifactError, match=r"onnxruntime cannot run .*model\.onnx on \(3, 2\)"):
        Predictor(make_bundle(model_inputs=5), provider="cpu")
    assert capfd.readouterr() == ("", "")


def test_a_bundle_stays_open_when_its_folder_is_gone(bundle_copy: Path) -> None:
    """The verified bytes are run: no file is read later."""
    predictor = Predictor(bundle_copy, provider="cpu")
    expected = predictor.predict(MATRIX)
    for path in bundle_copy.iterdir():
        os.truncate(path, 0)
    assert_same(predictor.predict(MATRIX), expected)


def test_a_path_may_be_text(bundle: Path) -> None:
    """``Predictor`` accepts str and Path."""
    assert Predictor(str(bundle), provider="cpu").provider == "cpu"


def test_a_table_is_bound_by_its_names(predictor: Predictor) -> None:
    """Data frames are matched by name in every call."""
    table = pa.table({"rating": [3.0, 1.5], "other": [0.0, 0.0], "price": [7.5, 2.0]})
    expected = predictor.predict([[7.5, 3.0], [2.0, 1.5]])
    for answer in (predictor.predict(table), predictor.predict(table)):
        assert answer.label.tolist() == expected.label.tolist()
        assert answer.probability.tolist() == expected.probability.tolist()
    with pytest.raises(SchemaError, match="'price' is missing"):
        predictor.predict(table.select(["rating", "other"]))


def test_an_unknown_provider_is_refused(bundle: Path) -> None:
    """An unknown provider is refused."""
    with pytest.raises(UsageError, match="cud"):
        Predictor(bundle, provider="cud")  # type: ignore[arg-type]  # the slip


def test_booleans_are_no_numbers_in_columns(predictor: Predictor) -> None:
    """As in text and in typed tables."""
    with pytest.raises(SchemaError, match="column 'price' has type bool, which is not a number"):
        predictor.predict({"price": np.array([True, False]), "rating": [1.0, 2.0]})
