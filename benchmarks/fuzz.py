"""Fuzzing: more than a hundred thousand damaged requests, with valid ones between them.

No response may be 5xx except 501 and 505, HTTP's statuses for an unsupported coding or version. The
server must not exit, grow or log a bug. Each valid request, on a connection of its own or before a
damaged one, must receive its correct response.

python benchmarks/fuzz.py [--requests 120000] [--seed 1] [--write]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import measure
from serving.damage import Harm, attack

if TYPE_CHECKING:
    from typing import IO

BUNDLES = Path(__file__).parents[1] / "tests" / "data"


def start(log: IO[str]) -> subprocess.Popen[str]:
    """Serve the bundles kept with the tests."""
    words = [sys.executable, "-m", "runtime", "serve", "--port", "0", "--provider", "cpu"]
    names = ("simplenet=" + str(BUNDLES / "bundle"), "sales=" + str(BUNDLES / "sales"))
    options = [word for name in names for word in ("--bundle", name)]
    return subprocess.Popen([*words, *options], stderr=log, text=True)


def port_of(log: Path) -> int:
    """Wait for the line with the server's port."""
    while not (found := re.search(r"http://[^/ ]*:(\d+)", log.read_text(encoding="utf-8"))):
        time.sleep(0.05)
    return int(found[1])


def resident_mib(pid: int) -> float:
    """Memory of a process, MiB."""
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"^VmRSS:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def describe(harm: Harm, sizes: tuple[float, float], seconds: float) -> str:
    """Format the results as a table."""
    answered = {status: n for status, n in sorted(harm.statuses.items()) if status}
    rows = [
        *((f"status {status}", f"{n:,}") for status, n in answered.items()),
        ("connection closed without a response", f"{harm.statuses[0]:,}"),
        ("valid requests between, all correct", f"{harm.good:,}"),
        ("other 5xx, wrong or lost responses", f"**{len(harm.wrong)}**"),
        ("memory before and after, MiB", f"{sizes[0]:.0f}, {sizes[1]:.0f}"),
        ("seconds", f"{seconds:.0f}"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)])


def main() -> None:
    """Serve, attack, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=120_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    log = Path(f"/proc/self/fd/{os.memfd_create('log')}")
    with log.open("w", encoding="utf-8") as stream:
        server = start(stream)
    try:
        port = port_of(log)
        attack(port, 2000, args.seed + 1)  # so that everything is loaded that ever will be
        before, started = resident_mib(server.pid), time.perf_counter()
        harm = attack(port, args.requests, args.seed)
        seconds = time.perf_counter() - started
        sizes = before, resident_mib(server.pid)
        if server.poll() is not None or '"error"' in log.read_text(encoding="utf-8"):
            harm.wrong.append(log.read_text(encoding="utf-8")[-2000:])
    finally:
        server.kill()
        server.wait()
    measure.report(
        "fuzz",
        f"{args.requests:,} damaged requests",
        describe(harm, sizes, seconds),
        ("onnxferry", "httptools", "msgspec"),
        note="One more response than requests where the damage makes two requests of one.",
        write=args.write and not harm.wrong,
    )
    if harm.wrong:
        raise SystemExit("\n".join(harm.wrong[:10]))


if __name__ == "__main__":
    main()
