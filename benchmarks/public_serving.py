"""Public tables from a CSV file to a server: fit, export, predict and serve, as a user types them.

    python benchmarks/public_serving.py [--tables Chile,vowel,mlc_churn] [--write]

The tables are of the result half of benchmarks/public_tables.py, its first split, with its options.
The server is sent the test rows as CSV, and must answer with the bytes of ``runtime predict``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import measure
from public_tables import names, peers_python, prepare
from serving.contenders import free_port
from tabular.catalogue import table_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tabular.catalogue import PublicTable

TYPICAL = ("Chile", "vowel", "mlc_churn")
PACKAGES = ("onnxferry", "torch", "onnxruntime-gpu", "numpy")
PATIENCE_S = 60


class Journey(NamedTuple):
    """What became of a table."""

    inputs: str
    fit_s: float
    export_s: float
    tightness: float
    undecidable: int
    accuracy: float
    rows: int
    is_served: bool


def main() -> None:
    """Take the tables through all commands, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tables", type=names, default=list(TYPICAL))
    parser.add_argument("--folder", type=Path, default=Path("artifacts/public_tables"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    tables = [table_named(name) for name in args.tables]
    prepared = prepare(tables, 1, args.folder.resolve(), peers_python(args.peers.resolve()))
    journeys = {}
    for table in tables:
        with tempfile.TemporaryDirectory() as folder:
            journeys[table.name] = travel(table, prepared / table.name / "0", Path(folder))
    note = (
        "Seconds of a machine that may be busy; errors and undecidable rows are those of the proof."
    )
    title = "Public tables through fit, export, predict and serve, default preset"
    body = format_body(journeys)
    measure.report("public_serving", title, body, PACKAGES, note=note, write=args.write)
    if not all(journey.is_served for journey in journeys.values()):
        sys.exit("a server's answer differs from runtime predict")


def travel(table: PublicTable, split: Path, folder: Path) -> Journey:
    """Take one table through all commands."""
    train, test, run, bundle = split / "train.csv", split / "test.csv", folder / "r", folder / "b"
    words = ["--label", table.label, "--unseen", "other", "--rare", "other", "--device", "cpu"]
    words += [word for name in table.categories for word in ("--categories", name)]
    fitted = measure.told("trainer", "fit", "--data", train, "--test", test, *words, "--out", run)
    exported = measure.told("exporter", "export", "--run", run, "--out", bundle)
    out = folder / "scored.csv"
    options = ("--truth", table.label, "--proba", "all", "--provider", "cpu", "--prefix", "p_")
    told = measure.told(
        "runtime", "predict", "--bundle", bundle, "--file", test, "--out", out, *options
    )
    with serving(bundle) as url:
        answer = post(f"{url}/predict?proba=all&prefix=p_", test.read_bytes())
    layers = json.loads((run / "run.json").read_bytes())["hidden"]
    return Journey(
        f"{'-'.join(map(str, layers))} units",
        fitted["seconds"],
        exported["seconds"],
        exported["worst_error_over_bound"],
        int(exported["undecidable"]),
        told["truth"]["accuracy"]["share"],
        told["rows"],
        answer == out.read_bytes(),
    )


@contextmanager
def serving(bundle: Path) -> Iterator[str]:
    """Serve a bundle; its URL, when it is ready."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    line = [sys.executable, "-m", "runtime", "serve", "--bundle", str(bundle)]
    line += ["--port", str(port), "--provider", "cpu"]
    with subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait(server, url)
            yield url
        finally:
            server.terminate()


def wait(server: subprocess.Popen[bytes], url: str) -> None:
    """Wait until the server is ready."""
    begun = time.monotonic()
    while time.monotonic() - begun < PATIENCE_S and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=PATIENCE_S):  # noqa: S310 - of ours
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    sys.exit("the server does not answer")


def post(url: str, body: bytes) -> bytes:
    """Send rows as CSV; the answer."""
    asked = urllib.request.Request(url, body, {"Content-Type": "text/csv"})  # noqa: S310 - of ours
    with urllib.request.urlopen(asked, timeout=PATIENCE_S) as answer:  # noqa: S310 - likewise
        found: bytes = answer.read()
        return found


def format_body(journeys: dict[str, Journey]) -> str:
    """Write a line for each table."""
    columns = (
        *("table", "network", "fit, s", "export with proof, s", "worst error of its bound"),
        *("undecidable rows", "test rows", "accuracy", "served as predicted"),
    )
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [
        f"| {name} | {each.inputs} | {each.fit_s:.1f} | {each.export_s:.1f} "
        f"| {each.tightness:.3f} | {each.undecidable} | {each.rows:,} | {each.accuracy:.1%} "
        f"| {'bit for bit' if each.is_served else '**no**'} |"
        for name, each in journeys.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
