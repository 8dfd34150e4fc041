"""The recipes of docs/engines.md, run as they stand there, beside runtime predict.

Each block of Python with a file name is run on the same table; what it writes is compared with the
output of runtime predict, bit by bit. Engines that do not fit our pins have environments of their
own under --peers, made once.

python benchmarks/engine_recipes.py [ENGINE ...] [--peers DIR] [--bundle DIR]
    [--rows 100000] [--write]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import measure
import numpy as np
import pyarrow as pa
from pyarrow import dataset, parquet

CHECKOUT = Path(__file__).parents[1]
PAGE = CHECKOUT / "docs" / "engines.md"
BLOCK = re.compile(r"^```python score_(\w+)\.py\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Engine(NamedTuple):
    """An environment, and the distributions that its recipe needs there."""

    environment: str
    requirements: tuple[str, ...]


ENGINES = {
    "polars": Engine("engines", ("polars==2.1.0",)),
    "duckdb": Engine("engines", ("duckdb==2.0.1",)),
    "dask": Engine("engines", ("dask[dataframe]==2026.8.0",)),
    "spark": Engine("engines", ("pyspark[sql]==4.3.0",)),
    "daft": Engine("daft", ("daft==0.7.26",)),  # pyarrow < 26
    "beam": Engine("beam", ("apache-beam==2.77.0",)),  # likewise, and protobuf < 7
}


def prepare(peers: Path, name: str) -> Path:
    """Make an engine's environment with this checkout, and get its Python."""
    engine = ENGINES[name]
    folder = peers / engine.environment
    python, ready = folder / "bin" / "python", folder / f".{name}-ready"
    if not ready.exists():
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip: list[str | Path] = [
            python,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "-e", f"{CHECKOUT}[cpu]", *engine.requirements], check=True)
        ready.touch()
    return python


def run_recipe(python: Path, name: str, code: str, folder: Path) -> pa.Table:
    """Run a recipe in the folder; read what it has written."""
    script = folder / f"score_{name}.py"
    script.write_text(code, encoding="utf-8")
    variables = {"PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [python, script.name],
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return read(folder / f"{name}.parquet")


def read(path: Path) -> pa.Table:
    """Read an output in the order of its rows, in plain types."""
    table = dataset.dataset(path, format="parquet").to_table()
    types = [pa.string() if pa.types.is_dictionary(one) else one for one in table.schema.types]
    table = table.cast(pa.schema(list(zip(table.column_names, types, strict=True))))
    for at, (name, kind) in enumerate(zip(table.column_names, types, strict=True)):
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            table = table.set_column(at, name, table[name].cast(pa.string()))
    return table.sort_by("id").combine_chunks()


def compare(expected: pa.Table, found: pa.Table) -> str:
    """Say whether rows, columns and bits are those of runtime predict."""
    columns = expected.column_names
    if set(columns) - set(found.column_names):
        return f"columns {found.column_names}"
    found = found.select(columns)
    differing = [name for name in columns if not found[name].equals(expected[name])]
    return f"differs in {', '.join(differing)}" if differing else "equal"


def main() -> None:
    """Run the recipes and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engines", nargs="*", default=list(ENGINES), metavar="ENGINE")
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    recipes = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
    lines, wrong = ["| engine | version | rows | bits |", "|---|---|---|---|"], []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(args.bundle, folder / "artifacts" / "bundle")
        products = np.random.default_rng(5).uniform([1, 1], [10, 5], (args.rows, 2)).T
        columns = [np.arange(args.rows), *products]
        table = pa.Table.from_arrays([pa.array(one) for one in columns], ["id", "price", "rating"])
        parquet.write_table(table, folder / "products.parquet", row_group_size=args.rows // 8)
        words = ["predict", "--file", "products.parquet", "--out", "expected.parquet"]
        subprocess.run([sys.executable, "-m", "runtime", *words], cwd=folder, check=True)
        expected = read(folder / "expected.parquet")
        for name in args.engines:
            python = prepare(args.peers.resolve(), name)
            found = run_recipe(python, name, recipes[name], folder)
            verdict = compare(expected, found)
            wrong += [] if verdict == "equal" else [f"{name} {verdict}"]
            version = ENGINES[name].requirements[0].partition("==")[2]
            lines.append(f"| {name} | {version} | {found.num_rows:,} | {verdict} |")
    measure.report(
        "engine_recipes",
        "The recipes of docs/engines.md",
        "\n".join(lines),
        ("pyarrow", "onnxruntime-gpu"),
        note="Outputs compared with that of `runtime predict`.",
        write=args.write,
    )
    if wrong:
        raise SystemExit("; ".join(wrong))


if __name__ == "__main__":
    main()
