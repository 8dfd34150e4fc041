"""What is said about tables of thousands of columns names the first and counts the others."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner

from runtime.cli.app import app
from runtime.errors import OnnxferryError
from runtime.predictor import Predictor
from runtime.printable import list_first, list_names
from runtime.schema.distribution import describe_values
from runtime.schema.features import Feature
from runtime.serving.app import App, build_app
from runtime.serving.http.messages import Request, Response
from runtime.serving.models.repository import Repository
from runtime.serving.observability.log import Logger
from runtime.serving.observability.traffic import Traffic
from runtime.serving.settings import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = 1500
NAMES = [f"measurement {at}" for at in range(COLUMNS)]
MORE = f"and {COLUMNS - 10:,} more"
MAX_CHARACTERS = 5000  # up to 110 columns of drift are named


@pytest.fixture
def wide(make_bundle: Callable[..., Path]) -> Path:
    """A bundle of 1,500 columns whose training range is 0 to 1, and 100 classes."""
    seen = describe_values(np.linspace(0, 1, 50, dtype=np.float32))
    features = [Feature(name, 0, 1, quantiles=seen.quantiles, shares=seen.shares) for name in NAMES]
    return make_bundle(features, [f"class {at}" for at in range(100)])


def test_names_are_counted_after_the_first() -> None:
    """Long names are cut, too."""
    assert list_names(["a", "b"]) == "'a', 'b'"
    assert list_names(NAMES, 2) == "'measurement 0', 'measurement 1' and 1,498 more"
    assert list_names(["x" * 10_000]) == repr("x" * 100 + "…")
    assert list_first(["a: 1", "b: 2", "c: 3"], 2, "; ") == "a: 1; b: 2 and 1 more"


@pytest.mark.slow
def test_predict_and_inspect_stay_short(wide: Path, tmp_path: Path) -> None:
    """Missing, other and misspelt columns; values out of range; drift."""
    tables = {
        "narrow.csv": "id,price\n1,2\n",
        "other.csv": ",".join(f"sensor {at}" for at in range(COLUMNS)) + "\n",
        "repeated.csv": ",".join(NAMES + NAMES) + "\n",
        "case.csv": ",".join(name.upper() for name in NAMES) + "\n",
        "none.jsonl": "[]\n",
        "outside.csv": ",".join(NAMES) + "\n" + ",".join(["7"] * COLUMNS) + "\n",
        "bad.csv": ",".join(NAMES) + "\n" + ",".join(["x"] * COLUMNS) + "\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
    predict = ["predict", "--bundle", str(wide), "--out", str(tmp_path / "out.csv"), "--file"]
    runs = [[*predict, str(tmp_path / name)] for name in tables]
    outside = str(tmp_path / "outside.csv")
    runs += [
        [*predict, outside, "--columns", "measuremnt"],
        [*predict, outside, "--truth", "measurement 1"],
        [*predict, outside, "--drift", str(tmp_path / "drift.json")],
        ["inspect", str(wide)],
        ["verify", str(wide)],
    ]
    shown = [_invoke(words) for words in runs]
    inspected = shown.pop(-2)
    assert [text for text in shown if not 0 < len(text) < MAX_CHARACTERS] == []
    assert f"{MORE} are missing" in shown[0]
    assert "--delimiter" not in "".join(shown)
    assert f"measurement 9 1 {MORE}" in shown[5]
    assert "and 1,400 more; --json has all" in inspected
    assert "class 19 and 80 more" in inspected


def _invoke(words: list[str]) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, OnnxferryError), done.exc_info
    return f"{done.output}{done.exception or ''}"


def test_errors_of_the_library_stay_short(wide: Path) -> None:
    """Columns by name, and matrices."""
    predictor = Predictor(wide, provider="cpu")
    full = {name: [0.5] for name in NAMES}
    wrong: list[Any] = [{"a": [1.0]}, {**full, "measurement 7": [1.0, 2.0]}, np.zeros((2, 3))]
    for columns in wrong:
        with pytest.raises(OnnxferryError) as refusal:
            predictor.predict(columns)
        assert len(str(refusal.value)) < MAX_CHARACTERS
        assert "more" in str(refusal.value)


def test_errors_of_the_server_stay_short(wide: Path) -> None:
    """Rows and tensors."""
    app = _serve({"m": wide})
    tensor = {"name": "measurement 1", "datatype": "FP32", "shape": [1], "data": [1]}
    unknown = [{**tensor, "name": f"sensor {at}"} for at in range(COLUMNS)]
    requests = [
        ("/predict", b"id,price\n1,2\n", b"more"),
        ("/predict", b'{"id": 1}', b"none of the model's columns"),
        ("/predict", b'[{"id": 1}, {"id": 2}]', b"more"),
        ("/v2/models/m/infer", json.dumps({"inputs": [tensor]}).encode(), b"more"),
        ("/v2/models/m/infer", json.dumps({"inputs": unknown}).encode(), b"more"),
    ]
    for path, body, says in requests:
        response = _ask(app, path, body)
        assert 400 <= response.status < 500
        text = b"".join(response.body)
        assert says in text
        assert len(text) < MAX_CHARACTERS


def _serve(bundles: dict[str, Path]) -> App:
    repository = Repository(bundles, "cpu", DEFAULT_LIMITS, lambda *_: None)
    repository.open_all()
    return build_app(repository, DEFAULT_LIMITS, Traffic(), Logger())


def _ask(app: App, path: str, body: bytes) -> Response:
    async def run() -> Response:
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        app.handle(Request("POST", path, {}, body, 0), answer.set_result)
        return await answer

    return asyncio.run(run())
