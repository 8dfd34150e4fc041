from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from exporter.bundling import export
from exporter.parity.rows import Plan
from runtime.errors import BadRowsError, DataError
from runtime.monitoring.ranges import OutOfRange
from runtime.predictor import Predictor
from trainer.run import load_run

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Columns = dict[str, list[Any]]
    Save = Callable[[str, Columns], Path]
    Trainer = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_users_table_end_to_end(
    trainer: Trainer, save: Save, columns: Columns, tmp_path: Path, ending: str
) -> None:
    """Trained, exported with its proof, scored from the same file: the learned labels."""
    path = save(f"mine.{ending}", columns)
    done = trainer(
        "fit", "--data", str(path), "--label", "what kind", "--epochs", "60", "--json", "--out", "r"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rows"] == 240
    assert json.loads(done.stdout)["accuracy"] > 0.9
    record = load_run(tmp_path / "r").record
    assert record.configuration["test_fraction"] == 0.2
    plan = Plan(uniform=4096, boundary=512)
    exported = export(tmp_path / "r", tmp_path / "bundle", plan=plan)
    assert exported.manifest.schema == record.schema
    predictor = Predictor(tmp_path / "bundle", provider="cpu")
    summary = predictor.score_file(path, tmp_path / f"scored.{ending}")
    assert (summary.rows, summary.scored) == (300, 300)
    output = predictor.predict({name: columns[name] for name in record.schema.feature_names})
    assert np.mean(output.label == np.array(columns["what kind"])) > 0.9


@pytest.mark.parametrize("unseen", ["error", "other"])
def test_categories_end_to_end(trainer: Trainer, save: Save, tmp_path: Path, unseen: str) -> None:
    """Trained from CSV, proven on valid rows, the same scores from every format."""
    generator = np.random.default_rng(2)
    colours, number = generator.choice(["rot", "grün", ""], 400), generator.normal(size=400)
    labels = np.where((colours == "rot") ^ (number > 1), "ja", "nein")
    table: Columns = {
        "x": number.round(3).tolist(),
        "farbe": colours.tolist(),
        "y": labels.tolist(),
    }
    path = save("mine.csv", table)
    options = ("--label", "y", "--unseen", unseen, "--epochs", "60", "--out", "r")
    done = trainer("fit", "--data", "mine.csv", *options)
    assert done.returncode == 0, done.stderr
    export(tmp_path / "r", tmp_path / "bundle", plan=Plan(uniform=4096, boundary=512))
    predictor = Predictor(tmp_path / "bundle", provider="cpu")
    assert predictor.schema.inputs == ("x", "farbe=", "farbe=grün", "farbe=rot")
    assert predictor.session.metadata["onnxferry.features"] == (
        '["x","farbe=","farbe=grün","farbe=rot"]'
    )
    outputs = predictor.predict({name: table[name] for name in ("farbe", "x")})
    assert np.mean(outputs.label == labels) > 0.9
    encoded = load_run(tmp_path / "r").rows.train_features.numpy()
    assert set(predictor.predict(encoded).label) == {"ja", "nein"}
    drift = tmp_path / "drift.json"
    for ending in ("csv", "jsonl", "parquet"):
        out = tmp_path / f"scored.{ending}"
        source = save(f"mine.{ending}", table)
        summary = predictor.score_file(source, out, truth="y", drift=drift, proba=True)
        watched = {
            "x": OutOfRange(0, 0),
            **({"farbe": OutOfRange(0, 0)} if unseen == "other" else {}),
        }
        assert (summary.scored, summary.out_of_range) == (400, watched)
        assert summary.truth is not None
        assert summary.truth.accuracy is not None
        assert summary.truth.accuracy.share == np.mean(outputs.label == labels)
        assert summary.drift is not None
        assert [feature.name for feature in summary.drift.features] == ["x", "farbe"]
    scored = predictor.predict_table(pa.table(table))
    assert scored["label"].to_pylist() == outputs.label.tolist()
    check_unseen(predictor, path, unseen)


def check_unseen(predictor: Predictor, path: Path, unseen: str) -> None:
    """A category not seen in training makes a bad row, or is scored."""
    path.write_text("farbe,x\nlila,1\n", encoding="utf-8")
    if unseen == "other":
        summary = predictor.score_file(path, path.parent / "out.csv")
        assert (summary.scored, summary.out_of_range["farbe"].unseen) == (1, 1)
        assert predictor.predict({"farbe": ["lila"], "x": [1]}).label.shape == (1,)
        return
    with pytest.raises(BadRowsError, match="'lila': a category that training did not have"):
        predictor.score_file(path, path.parent / "out.csv")
    with pytest.raises(DataError, match="row 0, column 'farbe': 'lila' cannot be scored"):
        predictor.predict({"farbe": ["lila"], "x": [1]})


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("--data t.csv", 2, "add --label"),
        ("--label y", 2, "add --data"),
        ("--test t.csv", 2, "--test describes a table: add --data and --label"),
        ("--data - --label y", 2, "not standard input or a pipe"),
        ("--data t.csv --label y --test t.csv --test-fraction 0.1", 2, "both define the test set"),
        ("--data t.csv --label y --test-fraction 1", 2, "above 0 and below 1"),
        ("--data t.csv --label y --features x,y", 2, "'y' is the label"),
        ("--data t.csv --label y --features x --exclude x", 2, "in --features and in --exclude"),
        ("--data t.csv --label y --delimiter xx", 2, "invalid delimiter 'xx'"),
        ("--data t.csv --label z", 3, "there is no column 'z'"),
        ("--data absent.csv --label z", 3, "absent.csv"),
    ],
)
def test_an_error_is_one_message_and_its_code(
    trainer: Trainer, save: Save, tmp_path: Path, arguments: str, code: int, message: str
) -> None:
    """Nothing on stdout, no traceback, no run."""
    save("t.csv", {"x": [1, 2, 3, 4], "y": ["a", "b", "a", "b"]})
    done = trainer("fit", *arguments.split())
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["t.csv"]
