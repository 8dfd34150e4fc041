"""Correct responses during reloads: 64 clients with distinct rows while a bundle is replaced.

Every client sends JSON and binary requests, each with unique rows and a unique id, while the bundle
is exchanged for another one and reloaded without a pause. Every response is compared, bit for bit,
with the outputs of the version that it names. One wrong or lost response fails the run.

python benchmarks/reloading.py [--requests 200000] [--clients 64] [--write]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import measure
import uvloop
from serving.contenders import ours
from serving.distinct import Pool, Tally, ask_while_reloading, draw_pool

OTHER_SEED = "7"


def make_other(folder: Path) -> Path:
    """Fit and export the same network from another seed.

    Args:
        folder: that holds nothing.

    Returns:
        The bundle.
    """
    run, bundle = folder / "run", folder / "other"
    words = [["trainer", "fit", "--seed", OTHER_SEED, "--out", run]]
    words.append(["exporter", "export", "--run", run, "--out", bundle])
    for command in words:
        subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, check=True)
    return bundle


def exchange(current: Path, other: Path) -> None:
    """Swap two folders."""
    spare = current.with_name("spare")
    current.rename(spare)
    other.rename(current)
    spare.rename(other)


def describe(tally: Tally, seconds: float, clients: int) -> str:
    """Format the results as a table."""
    rows = [
        ("responses", f"{tally.answers:,}"),
        *((f"requests in {kind}", f"{n:,}") for kind, n in sorted(tally.kinds.items())),
        *((f"by version {one}", f"{n:,}") for one, n in sorted(tally.versions.items())),
        ("loads meanwhile", f"{tally.loads:,}"),
        ("wrong, lost or refused", f"**{len(tally.wrong)}**"),
        ("connections", f"{clients}"),
        ("responses/s, all of them checked", f"{tally.answers / seconds:,.0f}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])


def main() -> None:
    """Serve, send, compare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        current = Path(shutil.copytree(args.bundle, folder / "bundle"))
        other = make_other(folder)
        tally, seconds = run(draw_pool((current, other), args.requests), current, other, args)
    measure.report(
        "reloading",
        "Responses while the bundle is replaced",
        describe(tally, seconds, args.clients),
        ("onnxferry", "onnxruntime-gpu", "uvloop", "httptools"),
        note="Clients and server share the processors.",
        write=args.write and not tally.wrong,
    )
    if tally.wrong:
        raise SystemExit("\n".join(tally.wrong[:10]))


def run(pool: Pool, current: Path, other: Path, args: argparse.Namespace) -> tuple[Tally, float]:
    """Run a server under load; return the results and the seconds."""
    server = ours(current)()
    try:
        started = time.perf_counter()
        asking = ask_while_reloading(
            server.port,
            pool,
            args.clients,
            args.requests // args.clients,
            lambda: exchange(current, other),
        )
        return uvloop.run(asking), time.perf_counter() - started
    finally:
        server.stop()


if __name__ == "__main__":
    main()
