"""The cost of an HTTP layer without a model: ours, a minimal asyncio one, uvicorn, granian.

Each responds to a POST with 330 fixed bytes, the size of the inference response of one row. Ours
makes all its checks; the minimal one reads only Content-Length; uvicorn (uvloop, httptools) and
granian (in Rust) serve a minimal ASGI application. One process each; the load comes from another.

python benchmarks/http_layer.py [--peers DIR] [--rounds 3] [--seconds 1] [--write]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import measure
import serve
from serving.contenders import Contender, environment_for, free_port, start

HERE = Path(__file__).parent
TASKS = (
    serve.Task("1 row, JSON, 1 connection", "json", 1, 1),
    serve.Task("1 row, JSON, 64 connections", "json", 1, 64),
    serve.Task("16,384 rows in, binary, 8 connections", "binary", 16_384, 8),
)


def main() -> None:
    """Start all, load them in turn, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    peers = environment_for(args.peers.resolve(), "http") / "bin"
    ours, bare = free_port(), free_port()
    uvicorn, granian = free_port(), free_port()
    own = [sys.executable, str(HERE / "serving" / "echo.py")]
    asgi = [
        "--app-dir",
        str(HERE),
        "serving.echo_asgi:app",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
    ]
    rust = ["--interface", "asginl", "--no-ws", "--loop", "uvloop", "serving.echo_asgi:app"]
    quiet = ["--log-level", "warning"]
    commands = {
        serve.OURS: ([*own, "ours", str(ours)], ours),
        "asyncio, bare": ([*own, "bare", str(bare)], bare),
        "uvicorn": (
            [str(peers / "uvicorn"), *asgi, *quiet, "--no-access-log", "--port", str(uvicorn)],
            uvicorn,
        ),
        "granian": (
            [str(peers / "granian"), *rust, *quiet, "--port", str(granian)],
            granian,
        ),
    }
    contenders: dict[str, Contender] = {}
    try:
        for name, (command, port) in commands.items():
            contenders[name] = start(command, port, {"PYTHONPATH": str(HERE)})
        parts = [
            serve.race(task, contenders, args.rounds, args.seconds, all_can=True) for task in TASKS
        ]
    finally:
        for one in contenders.values():
            one.stop()
    measure.report(
        "http_layer",
        "HTTP layers, nothing computed",
        "\n\n".join(parts),
        ("uvloop", "httptools"),
        note="Medians; ratios are medians over the pairs. The load comes from the same processors.",
        write=args.write,
    )


if __name__ == "__main__":
    main()
