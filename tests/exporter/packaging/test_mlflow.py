"""The MLflow model, loaded and served by MLflow where onnxferry cannot be imported."""

from __future__ import annotations

import json
import subprocess
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

from exporter.bundling import export
from exporter.packaging.mlflow_pyfunc import output_prefix
from exporter.packaging.package import package_bundle
from exporter.parity.rows import Plan
from runtime.predictor import Predictor
from runtime.schema.features import Feature, Schema
from trainer.config import configure
from trainer.data.cell_options import DateFormats
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource
from trainer.pipeline import make_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.slow

_PLAN = Plan(uniform=64, boundary=16, small=16, medium=32)  # the proof is not the subject
COLOURS = ("red", "green", "")
# Python -S reads no .pth file, so that an editable onnxferry is not found.
_PROGRAM = """
import json, sys, warnings
site, model_path, table_path = sys.argv[1:]
sys.path.append(site)
warnings.simplefilter("ignore")
from importlib.util import find_spec
assert find_spec("runtime") is None and find_spec("exporter") is None
import mlflow, pandas
from fastapi.testclient import TestClient
from mlflow.exceptions import MlflowException
from mlflow.pyfunc.scoring_server import init

model = mlflow.pyfunc.load_model(model_path)
signature = model.metadata.signature
kinds = {"active": bool, "count": "int64", "colour": object, "first": object}
gaps = {"x": [""], "last": [""]}
table = pandas.read_csv(table_path, dtype=kinds, keep_default_na=False, na_values=gaps)
table["last"] = pandas.to_datetime(table["last"])
optional = [one.name for one in signature.inputs if not one.required]
found = {
    "types": {one["name"]: (one["type"], one["required"]) for one in signature.inputs.to_dict()},
    "columns": model.metadata.metadata["columns"],
    "outputs": signature.outputs.input_names(),
    "rows": model.predict(table)["probability"].tolist(),
    "reordered": model.predict(table[reversed(table.columns)])["probability"].tolist(),
    "text": model.predict(
        table.assign(last=table["last"].dt.strftime("%Y-%m-%d"), count=table["count"] * 1.0)
    )["probability"].tolist(),
    "frames": [
        model.predict(one)["probability"].tolist()
        for one in (
            table.assign(colour=table["colour"].astype("category")),
            table.assign(active=table["active"].map({True: "true", False: "false"})),
            pandas.read_csv(table_path, dtype_backend="pyarrow"),
        )
    ],
    "index": model.predict(table[3:5]).index.tolist(),
    "short": model.predict(table.drop(columns=optional)).columns.tolist(),
    "null": model.predict(
        table.assign(first="31/31/2024"), params={"bad_rows": "null", "proba": True}
    ).iloc[0].to_dict(),
    "example": model.predict(model.input_example)["label"].tolist(),
    "errors": [],
}
for wrong in (table.drop(columns="first"), table.assign(first="31/31/2024")):
    try:
        model.predict(wrong)
    except MlflowException as error:
        found["errors"].append(str(error))
client = TestClient(init(model))
split = json.loads(table[["first", "count", "active", "colour", "x"]].to_json(orient="split"))
split["columns"].append("last")
for row, day in zip(split["data"], table["last"]):
    row.append(None if pandas.isna(day) else day.isoformat())
body = {"dataframe_split": {"columns": split["columns"], "data": split["data"]}}
answer = client.post("/invocations", json=body)
assert answer.status_code == 200, answer.text
found["served"] = [one["probability"] for one in answer.json()["predictions"]]
for row in split["data"]:
    row[2] = str(row[2]).lower()
answer = client.post("/invocations", json=body)
found["served texts"] = [one["probability"] for one in answer.json()["predictions"]]
split["data"][0][0] = "31/31/2024"
answer = client.post("/invocations", json=body)
found["refused"] = [answer.status_code, answer.json()["message"]]
print("RESULT" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with dates in two notations, integers, truth values, categories and gaps."""
    folder = tmp_path_factory.mktemp("dated")
    lines = ["last,first,count,active,colour,x,y"]
    for at in range(120):
        day, month = at % 28 + 1, at % 12 + 1
        last = f"2024-{month:02}-{day:02}" if at % 9 else ""
        x = at / 7 if at % 5 else ""
        flags = f"{at % 11},{'true' if at % 3 else 'false'},{COLOURS[at % 3]}"
        lines.append(f"{last},{day:02}/{month:02}/2024,{flags},{x},{'ab'[at % 2]}")
    (folder / "table.csv").write_text("\n".join([*lines, ""]))
    source = TableSource(
        folder / "table.csv", "y", date_formats=DateFormats(columns={"first": "dmy"})
    )
    make_run(
        folder / "run", configure(epochs=2, seed=1), read_dataset(source, seed=1), device="cpu"
    )
    return export(folder / "run", folder / "bundle", plan=_PLAN).path


@pytest.fixture(scope="module")
def found(
    bundle: Path, tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What MLflow says of the package."""
    folder = tmp_path_factory.mktemp("packages")
    model = package_bundle(bundle, "mlflow", folder / "mlflow").path
    python = tool("python")
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    command: list[str | Path] = [
        python,
        "-S",
        "-c",
        _PROGRAM,
        site,
        model,
        bundle.parent / "table.csv",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout.rpartition("RESULT")[2])
    return values


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["price"], ""),
        (["label"], "predicted_"),
        (["probability_yes"], "predicted_"),
        (["reason", "predicted_label"], "predicted_predicted_"),
    ],
)
def test_new_columns_never_have_the_name_of_a_feature(names: list[str], prefix: str) -> None:
    """Of those that a parameter adds, too."""
    features = tuple(Feature(name, 0, 1) for name in names)
    assert output_prefix(Schema("target", features, ("no", "yes"))) == prefix


def test_the_signature_has_every_column(found: dict[str, Any]) -> None:
    """What has gaps may be missing; a column may have any type that it has in a frame."""
    required = {"last": False, "first": True, "count": True, "active": True, "colour": False}
    assert found["types"] == {
        name: ["any", needed] for name, needed in (required | {"x": False}).items()
    }
    assert list(found["columns"].values()) == [
        *("date (ISO 8601)", "date (dmy)", "number", "boolean", "category", "number")
    ]
    assert found["outputs"] == ["label", "probability"]


def test_mlflow_predicts_and_serves_what_the_runtime_predicts(
    found: dict[str, Any], bundle: Path, tmp_path: Path
) -> None:
    """By name, of any type, with the index of the frame, over HTTP; without onnxferry."""
    predictor, out = Predictor(bundle, provider="cpu"), tmp_path / "scored.jsonl"
    predictor.score_file(bundle.parent / "table.csv", out)
    expected = [json.loads(line)["probability"] for line in out.read_text().splitlines()]
    assert found["rows"] == pytest.approx(expected, abs=1e-6)
    assert found["reordered"] == found["rows"]
    assert found["text"] == found["rows"]  # dates as text, whole numbers as floats
    assert found["frames"] == [found["rows"]] * 3  # categories, truth values as text, Arrow
    assert found["served"] == pytest.approx(expected, abs=1e-6)
    assert found["served texts"] == found["served"]
    assert found["index"] == [3, 4]
    assert found["example"][0] in {"a", "b"}
    assert found["short"] == ["label", "probability"]


def test_bad_rows_are_errors_or_have_a_reason(found: dict[str, Any]) -> None:
    """A missing column is MLflow's error, a bad cell ours; with null it stays, explained."""
    missing, bad = found["errors"]
    assert "missing inputs ['first']" in missing
    assert "31/31/2024" in bad
    assert 'or continue with params={"bad_rows": "null"}' in bad
    status, message = found["refused"]
    assert status == HTTPStatus.BAD_REQUEST
    assert "record 1, column 'first': '31/31/2024'" in message
    assert found["null"]["label"] == ""  # in Spark MLflow would make "nan" of a missing one
    assert "31/31/2024" in found["null"]["reason"] or "date" in found["null"]["reason"]
    assert {"probability_a", "probability_b"} <= found["null"].keys()
