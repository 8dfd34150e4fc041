from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from pyarrow import feather, parquet
from serving_client import Served, features

if TYPE_CHECKING:
    from collections.abc import Mapping

BUNDLE = Path(__file__).parent.parent / "data" / "bundle"
# As `python -m runtime`; pyarrow imports cloudpickle where something else has installed it.
PROGRAM = (
    "import runpy, sys; sys.modules['cloudpickle'] = None; "
    "runpy.run_module('runtime', run_name='__main__', alter_sys=True)"
)
IMPORTTIME = [sys.executable, "-X", "importtime", "-c", PROGRAM]
TEXTS = {
    "csv": 'price,rating,note\n8,4,a\nabc,3,"b"\n1e99,2,\n7\n',
    "jsonl": '{"price":8,"rating":"4"}\n{"price":null,"rating":3,"note":"\\u00e9"}\n{"rating":1}\n',
}
# Other formats, other options, or nothing at all.
NOT_FOR_CSV = frozenset(
    {
        "concurrent.futures",
        "dataclasses",
        "json",
        "logging",
        "opentelemetry",
        "pandas",
        "pyarrow.compute",
        "pyarrow.dataset",
        "pyarrow.parquet",
        "rich",
        "runtime.telemetry",
        "tempfile",
    }
)
MODULES_FOR_CSV = 77  # budget of our own modules; quotas, dates, partitions, classes among them
IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", re.MULTILINE)

# Scores every table given with every option; importing pandas ends the process. One process for
# all: what is not loaded for any of them is not loaded for one.
PANDAS_TRAP = """
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typer.testing import CliRunner

class Trap:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise SystemExit("pandas!")

sys.meta_path.insert(0, Trap())
(command,) = entry_points(group="console_scripts", name="runtime")
app = import_module(command.module).app
bundle, *tables = sys.argv[1:]
for table in tables:
    for ending in ("csv", "jsonl", "parquet"):
        for options in (["--bad-rows", "null", "--proba", "all"], ["--bad-rows", "reject"]):
            out = Path(table).with_name(f"{Path(table).name}.scored.{ending}")
            words = ["predict", "--bundle", bundle, "--file", table, "--out", str(out)]
            done = CliRunner().invoke(app, [*words, "--truth", "rating", *options])
            assert done.exit_code == 0, (table, ending, options, done.output, done.exception)
            assert "rows" in done.stderr, (table, ending, options)
            out.unlink()
"""


def test_scoring_leaves_pandas_alone(tmp_path: Path) -> None:
    """Scoring never imports pandas, good rows and bad, even where it is installed."""
    tables = [tmp_path / f"products.{ending}" for ending in ("csv", "jsonl", "parquet", "arrow")]
    for table in tables:
        if table.suffix[1:] in TEXTS:
            table.write_text(TEXTS[table.suffix[1:]])
        else:
            _write_typed(table)
    words = [sys.executable, "-c", PANDAS_TRAP, str(BUNDLE), *map(str, tables)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


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


@pytest.fixture
def bare(environment: Mapping[str, str]) -> dict[str, str]:
    """Environment variables without those of coverage, which imports on its own behalf."""
    return {name: value for name, value in environment.items() if "COV" not in name}


def test_a_few_rows_of_csv_import_only_what_they_need(
    tmp_path: Path, bare: Mapping[str, str]
) -> None:
    """Start-up dominates a short run: other formats, threads and screens are not imported."""
    table = tmp_path / "products.csv"
    table.write_text("price,rating\n" + "8,4\n" * 10)
    words = ["predict", "--bundle", str(BUNDLE), "--file", str(table)]
    words += ["--out", str(tmp_path / "scored.csv"), "--provider", "cpu"]
    done = subprocess.run(
        [*IMPORTTIME, *words], env=bare, capture_output=True, text=True, check=True
    )
    loaded = set(IMPORTED.findall(done.stderr))
    assert "pyarrow" in loaded
    assert not NOT_FOR_CSV & loaded
    ours = {name for name in loaded if name.partition(".")[0] == "runtime"}
    assert len(ours) <= MODULES_FOR_CSV, sorted(ours)


def test_serving_imports_no_tables_and_no_torch(bare: Mapping[str, str]) -> None:
    """A server that is asked by the protocol imports no table library and no torch."""
    words = ["serve", "--bundle", str(BUNDLE), "--port", "0", "--provider", "cpu"]
    with subprocess.Popen([*IMPORTTIME, *words], env=bare, stderr=subprocess.PIPE, text=True) as it:
        assert it.stderr
        said = ""
        while not (found := re.search(r" at http://[^/ ]*:(\d+)", said)):
            line = it.stderr.readline()
            assert line, said
            said += line
        served = Served(it, int(found[1]), [])
        assert served.ask("/v2/models/simplenet/infer", features([7.5, 3.0])).status == 200
        assert served.end() == 0
    loaded = set(IMPORTED.findall(said + "".join(served.lines)))
    assert "uvloop" in loaded
    assert loaded.isdisjoint(
        {
            "email",
            "importlib.metadata",
            "opentelemetry",
            "pandas",
            "prometheus_client",
            "pyarrow",
            "rich",
            "runtime.telemetry",
            "torch",
        }
    )
