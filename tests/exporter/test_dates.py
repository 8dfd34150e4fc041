"""A column of dates, from the table that is fitted to the answers over HTTP."""

from __future__ import annotations

import datetime as dt
import json
import re
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from pyarrow import parquet

from exporter.bundling import export
from runtime.bundle.manifest import REPORT
from runtime.errors import BadRowsError
from runtime.predictor import Predictor
from runtime.serving.handlers.predict import PredictParams, predict_rows
from runtime.serving.http.messages import Request
from runtime.serving.settings import Limits
from runtime.terminal.manifest import format_manifest
from trainer.config import configure
from trainer.data.reading import read_dataset
from trainer.data.source import TableSource
from trainer.pipeline import make_run

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.parity.rows import Plan

pytestmark = pytest.mark.slow

FIRST = dt.datetime(2024, 1, 1, 6)  # noqa: DTZ001 - what names no zone is in UTC
TIMES = [FIRST + dt.timedelta(hours=31 * at) for at in range(200)]


@pytest.fixture(scope="module")
def dated(quick: Plan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a model that separates early from late dates, some of them missing."""
    folder = tmp_path_factory.mktemp("dates")
    rows = [
        f"{time.isoformat() if (at + 1) % 9 else ''},{at % 7},{'late' if at > 99 else 'early'}"
        for at, time in enumerate(TIMES)
    ]
    (folder / "t.csv").write_text("\n".join(["when,x,y", *rows, ""]))
    dataset = read_dataset(TableSource(folder / "t.csv", "y"), seed=1)
    make_run(folder / "run", configure(epochs=40, seed=1), dataset, device="cpu")
    return export(folder / "run", folder / "bundle", plan=quick).path


@pytest.fixture(scope="module")
def predictor(dated: Path) -> Predictor:
    """Its model, opened."""
    return Predictor(dated, provider="cpu")


def test_the_bundle_says_what_a_date_is(dated: Path, predictor: Predictor) -> None:
    """The schema has the origin; people read dates, not days."""
    feature = predictor.schema.features[0]
    assert (feature.origin, feature.missing) == ("2024-01-01", "imputed")
    assert "when  date    2024-01-0" in format_manifest(predictor.manifest)
    assert re.search(r"2024-01-0[^<]* to 2024-09-", (dated / REPORT).read_text())


def test_all_formats_give_the_same_answers(predictor: Predictor, tmp_path: Path) -> None:
    """Files of text and of types, tables in memory and bodies of requests: to the bit."""
    times = [*TIMES[::20], None]
    texts = ["" if time is None else time.isoformat() for time in times]
    (tmp_path / "in.csv").write_text("\n".join(["when,x", *(f"{text},1" for text in texts), ""]))
    rows = [json.dumps({"when": text or None, "x": 1}) for text in texts]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, ""]))
    typed = pa.table({"when": pa.array(times, pa.timestamp("ns")), "x": [1] * len(times)})
    parquet.write_table(typed, tmp_path / "in.parquet")
    found: dict[str, list[object]] = {}
    for name in ("in.csv", "in.jsonl", "in.parquet"):
        predictor.score_file(tmp_path / name, tmp_path / f"{name}.out.parquet")
        out = parquet.read_table(tmp_path / f"{name}.out.parquet")
        found[name] = out.column("probability").to_pylist()
    frame = pl.from_arrow(typed)
    assert isinstance(frame, pl.DataFrame)
    found["polars"] = predictor.predict_table(frame)["probability"].to_list()
    instants = np.array(times, "datetime64[us]")
    output = predictor.predict({"when": instants, "x": np.ones(len(times))})
    found["numpy"] = output.probability.tolist()
    body = f"[{','.join(rows)}]".encode()
    request = Request("POST", "/predict", {b"content-type": b"application/json"}, body, 0)
    response, _ = predict_rows(predictor, request, PredictParams(), Limits())
    served = json.loads(b"".join(response.body))
    found["http"] = [float(np.float32(row["probability"])) for row in served]
    assert found == dict.fromkeys(found, found["in.csv"])
    assert {row["label"] for row in served} == {"early", "late"}
    assert len(found["in.csv"]) == len(times)


def test_what_is_no_date_is_a_bad_cell(predictor: Predictor, tmp_path: Path) -> None:
    """By the policies of bad numbers, also where a column of another type holds no dates."""
    (tmp_path / "in.csv").write_text("when,x\n2024-02-30,1\n2024-02-29,1\n17,2\n")
    with pytest.raises(BadRowsError, match=r"record 1 .*'when': '2024-02-30': not an ISO date"):
        predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv")
    done = predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv", bad_rows="reject")
    assert (done.scored, done.rejected) == (1, 2)
    parquet.write_table(pa.table({"when": [17], "x": [1]}), tmp_path / "in.parquet")
    with pytest.raises(BadRowsError, match=r"'when': '17': not an ISO date"):
        predictor.score_file(tmp_path / "in.parquet", tmp_path / "out.csv")


def test_drift_and_ranges_count_dates(predictor: Predictor, tmp_path: Path) -> None:
    """A date after training's last is out of range, and drift compares days."""
    lines = ["when,x", *("2031-01-01,1" for _ in range(50)), ""]
    (tmp_path / "in.csv").write_text("\n".join(lines))
    drift = tmp_path / "drift.json"
    done = predictor.score_file(tmp_path / "in.csv", tmp_path / "out.csv", drift=drift)
    assert done.out_of_range["when"].above == 50
    assert done.drift is not None
    assert [each.name for each in done.drift.features] == ["when", "x"]
    assert done.drift.features[0].maximum == (dt.date(2031, 1, 1) - dt.date(2024, 1, 1)).days
