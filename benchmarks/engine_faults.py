"""Faults while Ray scores: killed workers, nodes and drivers; rows are counted by their ids.

A cluster of two nodes on loopback addresses scores a folder of tables, or one table in parts, with
``runtime predict --engine ray``. When the first of them are complete, a process is killed. The
destination must then hold every id once, or not exist; an interrupted run is resumed and must hold
every id once.

python benchmarks/engine_faults.py [--tables 12] [--rows 400000] [--write]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import numpy as np
import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NODES = ("127.0.0.1", "127.0.0.2")
PORT = 6399
MAX_S = 400  # of one run
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}


@dataclass(frozen=True)
class Case:
    """A fault, and whether the run survives it."""

    name: str
    inject: Callable[[Run], None]
    survives: bool
    is_single: bool = False

    @property
    def out(self) -> str:
        """Name of the destination."""
        return "scored.csv" if self.is_single else "scored"


@dataclass
class Run:
    """A run of the command.

    Attributes:
        out: the destination.
        process: of the driver.
        nodes: processes of the cluster.
    """

    out: Path
    process: subprocess.Popen[str]
    nodes: list[subprocess.Popen[bytes]]

    @property
    def staged(self) -> Path:
        """Where workers write."""
        return self.out.with_name(f"{self.out.name}.partial")

    def complete(self) -> int:
        """Count tables or parts that are complete and not published."""
        return len(list(self.staged.glob("*/records/*")))

    def writers(self) -> list[int]:
        """Find the processes that are writing a table."""
        return sorted({pid for pid, path in open_files() if path.startswith(f"{self.staged}/")})


def open_files() -> Iterator[tuple[int, str]]:
    """List the open files of all processes."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            yield int(link.parts[2]), str(link.readlink())


def kill_worker(run: Run) -> None:
    """Kill the process that writes a table."""
    while not (found := run.writers()):
        time.sleep(0.005)
    os.kill(found[0], signal.SIGKILL)


def kill_workers(run: Run) -> None:
    """Kill each process that works on a table, as if it took too much memory."""
    name, killed = "", set[str]()
    while run.process.poll() is None:
        for mark in run.staged.glob("*/attempts/*/[!.]*"):
            name = name or mark.parent.name
            if mark.parent.name == name and mark.name not in killed:
                with suppress(OSError):
                    os.kill(int(mark.read_text().split()[1]), signal.SIGKILL)
                    killed.add(mark.name)
        time.sleep(0.005)


def kill_node(run: Run) -> None:
    """Kill the second node; its workers end with it."""
    node = run.nodes[1]
    children = Path(f"/proc/{node.pid}/task/{node.pid}/children").read_text().split()
    for pid in [*map(int, children), node.pid]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def send(number: signal.Signals) -> Callable[[Run], None]:
    """Send a signal to the driver."""
    return lambda run: run.process.send_signal(number)


CASES = (
    Case("worker killed", kill_worker, survives=True),
    Case("worker killed, one table in parts", kill_worker, survives=True, is_single=True),
    Case("each worker of a table killed", kill_workers, survives=False),
    Case("node killed", kill_node, survives=True),
    Case("driver killed (SIGKILL)", send(signal.SIGKILL), survives=False),
    Case("driver killed, one table in parts", send(signal.SIGKILL), survives=False, is_single=True),
    Case("driver terminated (SIGTERM)", send(signal.SIGTERM), survives=False),
    Case("Ctrl-C (SIGINT)", send(signal.SIGINT), survives=False),
)


@contextmanager
def cluster(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start two nodes with a processor each."""
    head = ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder}"]
    member = [f"--address={NODES[0]}:{PORT}"]
    with ExitStack() as stack:
        nodes = []
        for address, words in zip(NODES, (head, member), strict=True):
            command: list[str | Path] = [
                BIN / "ray",
                "start",
                "--block",
                f"--node-ip-address={address}",
            ]
            command += ["--num-cpus=1", "--object-store-memory=200000000", *words]
            node = subprocess.Popen(
                command,
                env=ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            stack.callback(end, node)
            nodes.append(node)
            wait_for_nodes(len(nodes))
        yield nodes


def wait_for_nodes(count: int) -> None:
    """Wait until the cluster has as many nodes."""
    program = f"import ray; ray.init('{NODES[0]}:{PORT}', logging_level='ERROR'); "
    program += "print(sum(node['Alive'] for node in ray.nodes()))"
    deadline = time.monotonic() + MAX_S
    while time.monotonic() < deadline:
        with suppress(OSError, subprocess.TimeoutExpired):
            import socket

            socket.create_connection((NODES[0], PORT), 1).close()
            found = subprocess.run(
                [sys.executable, "-c", program],
                env=ENVIRONMENT,
                capture_output=True,
                text=True,
                check=False,
                timeout=90,
            )
            if found.stdout.strip().endswith(str(count)):
                return
        time.sleep(1)
    raise SystemExit("the cluster does not start")


def end(node: subprocess.Popen[bytes]) -> None:
    """End a node and what it has started."""
    with suppress(ProcessLookupError):
        os.killpg(node.pid, signal.SIGTERM)
    try:
        node.wait(20)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(node.pid, signal.SIGKILL)
        node.wait()


def write_tables(folder: Path, single: Path, tables: int, rows: int) -> None:
    """Write CSV files with consecutive ids, and a single one with all of them."""
    random = np.random.default_rng(0)
    folder.mkdir()
    everything = []
    for number in range(tables):
        ids = np.arange(number * rows, (number + 1) * rows)
        price, rating = random.uniform(1, 10, rows).round(2), random.uniform(1, 5, rows).round(2)
        table = pa.table({"id": ids, "price": price, "rating": rating})
        csv.write_csv(table, folder / f"{number:03}.csv")
        everything.append(table)
    csv.write_csv(pa.concat_tables(everything), single)


def command(bundle: Path, source: Path, out: str) -> list[str | Path]:
    """The command of a run."""
    address = f"{NODES[0]}:{PORT}"
    words: list[str | Path] = [
        BIN / "runtime",
        "predict",
        "--engine",
        "ray",
        "--address",
        address,
        "--json",
    ]
    return [*words, "--bundle", bundle, "--file", source, "--out", out]


def count_ids(out: Path, expected: int) -> str:
    """Describe a destination: absent, or rows lost and doubled."""
    if not out.exists():
        return "absent"
    paths = [out] if out.is_file() else sorted(out.glob("*.csv"))
    columns = [csv.read_csv(path)["id"].to_numpy() for path in paths]
    ids = np.concatenate(columns) if columns else np.empty(0, np.int64)
    lost = expected - len(np.intersect1d(ids, np.arange(expected)))
    return f"{lost} lost, {len(ids) - len(np.unique(ids))} doubled"


def run_case(case: Case, bundle: Path, source: Path, expected: int) -> list[str]:
    """Run the command, inject the fault, and resume an interrupted run."""
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as name, ExitStack() as stack:
        folder = Path(name)
        nodes = stack.enter_context(cluster(folder / "session"))
        words = command(bundle, source, case.out)
        process = subprocess.Popen(
            words, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE
        )
        run = Run(folder / case.out, process, nodes)
        first = 1 if case.is_single else 2
        while run.complete() < first and process.poll() is None:
            time.sleep(0.02)
        at = run.complete()
        case.inject(run)
        output, _ = process.communicate(timeout=MAX_S)
        after = count_ids(run.out, expected)
        if case.survives and json.loads(output)["rows"] != expected:
            after += ", another number in the summary"
        ended = process.returncode
        resumed = ""
        if not case.survives:
            time.sleep(2)
            if left := run.writers():
                after += f", {len(left)} still writing"
            again = [*words, "--resume"]
            done = subprocess.run(again, cwd=folder, env=ENVIRONMENT, check=False, timeout=MAX_S)
            resumed = f"exit {done.returncode}, {count_ids(run.out, expected)}"
        return [case.name, f"{at}", f"{ended}", after, resumed or "not needed"]


def is_right(case: Case, row: list[str]) -> bool:
    """Check a result."""
    whole = "0 lost, 0 doubled"
    if case.survives:
        return row[2:4] == ["0", whole]
    return row[2] != "0" and row[3] == "absent" and row[4] == f"exit 0, {whole}"


def main() -> None:
    """Run all cases and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--tables", type=int, default=12)
    parser.add_argument("--rows", type=int, default=400_000, help="of each table")
    parser.add_argument("--case", help="a part of the name of the cases to run")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # nodes must not outlive this
    rows, wrong = [], []
    with tempfile.TemporaryDirectory() as name:
        tables, single = Path(name) / "tables", Path(name) / "single.csv"
        write_tables(tables, single, args.tables, args.rows)
        for case in CASES:
            if args.case is None or args.case in case.name:
                source = single if case.is_single else tables
                row = run_case(case, args.bundle.absolute(), source, args.tables * args.rows)
                print(*row, sep=" | ", file=sys.stderr)
                rows.append(row)
                wrong += [] if is_right(case, row) else [case.name]
    head = ["fault", "complete before", "exit code", "destination", "with --resume"]
    lines = [head, ["---"] * len(head), *rows]
    measure.report(
        "engine_faults",
        f"Faults while Ray scores {args.tables} tables of {args.rows:,} rows on two nodes",
        "\n".join(f"| {' | '.join(line)} |" for line in lines),
        ("onnxferry", "ray", "onnxruntime-gpu"),
        note="Rows are counted by their ids. Both nodes are on this machine.",
        write=args.write and not wrong and args.case is None,
    )
    if wrong:
        raise SystemExit(f"wrong: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
