from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import feather, parquet

BUNDLE = Path(__file__).parent.parent / "data" / "bundle"
COMMAND = [sys.executable, "-m", "runtime", "predict", "--bundle", str(BUNDLE), "--file"]
TEXTS = {
    "csv": 'price,rating,note\n8,4,a\nabc,3,"b"\n1e99,2,\n7\n',
    "jsonl": '{"price":8,"rating":"4"}\n{"price":null,"rating":3,"note":"\\u00e9"}\n{"rating":1}\n',
}
# What belongs to other formats and other options, or to nothing at all.
NOT_FOR_CSV = frozenset(
    {
        "concurrent.futures",
        "dataclasses",
        "json",
        "logging",
        "pandas",
        "pyarrow.compute",
        "pyarrow.dataset",
        "pyarrow.parquet",
        "rich",
        "runtime.io.compression",
        "runtime.io.discovery",
        "runtime.io.folders",
        "runtime.monitoring.drift",
        "runtime.monitoring.accuracy",
        "runtime.scoring.batch",
        "runtime.scoring.preview",
        "runtime.terminal.summary",
        "runtime.tables.arrow",
        "runtime.tables.number_formats",
        "runtime.tables.json_lines",
        "tempfile",
    }
)


@pytest.fixture
def trap(tmp_path: Path) -> dict[str, str]:
    """An environment in which importing pandas ends the process."""
    (tmp_path / "trap" / "pandas").mkdir(parents=True)
    (tmp_path / "trap" / "pandas" / "__init__.py").write_text("raise SystemExit('pandas!')")
    return {**os.environ, "PYTHONPATH": str(tmp_path / "trap")}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("out_format", ["csv", "jsonl", "parquet"])
def test_scoring_leaves_pandas_alone(
    tmp_path: Path, trap: dict[str, str], ending: str, out_format: str
) -> None:
    """Scoring never imports pandas, good rows and bad, even where it is installed."""
    table, out = tmp_path / f"products.{ending}", tmp_path / f"scored.{out_format}"
    if ending in TEXTS:
        table.write_text(TEXTS[ending])
    else:
        _write_typed(table)
    for options in (["--bad-rows", "null", "--proba"], ["--bad-rows", "reject"]):
        words = [*COMMAND, str(table), "--out", str(out), "--truth", "rating", *options]
        done = subprocess.run(words, env=trap, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "rows" in done.stderr


def _write_typed(path: Path) -> None:
    columns = {
        "price": [8.0, None, float("nan")],
        "rating": pa.array([4, 3, 2], pa.int8()),
        "seen": pa.array([1, 2, None], pa.timestamp("ns", "UTC")),
        "tags": [["a"], None, []],
        "shop": pa.array(["x", None, "y"]).dictionary_encode(),
    }
    table = pa.table(columns)
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, str(path))


def test_a_few_rows_of_csv_import_only_what_they_need(tmp_path: Path) -> None:
    """Start-up is most of a short run: other formats, threads and screens are not loaded."""
    table = tmp_path / "products.csv"
    table.write_text("price,rating\n" + "8,4\n" * 10)
    code = (
        "import sys\n"
        "sys.modules['cloudpickle'] = None\n"  # pyarrow loads it where something else brought it
        "from runtime.cli.app import main\n"
        "try: main()\n"
        "finally: print(*sys.modules, file=sys.__stderr__)"
    )
    words = [sys.executable, "-c", code, *COMMAND[3:], str(table)]
    words += ["--out", str(tmp_path / "scored.csv"), "--provider", "cpu"]
    bare = {name: value for name, value in os.environ.items() if "COV" not in name}
    done = subprocess.run(words, env=bare, capture_output=True, text=True, check=True)
    loaded = done.stderr.splitlines()[-1].split()
    assert "runtime.scoring.pipeline" in loaded
    assert not NOT_FOR_CSV.intersection(loaded)


def test_serving_imports_no_tables_and_no_threads_of_training() -> None:
    """A server that answers the protocol has no table library in its memory, and no torch."""
    code = "import runtime.serving.running, runtime.predictor, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "uvloop" in loaded
    assert loaded.isdisjoint({"pandas", "pyarrow", "rich", "torch", "importlib.metadata", "email"})
