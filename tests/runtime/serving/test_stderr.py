"""The log is JSON lines only, whoever writes to stderr."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from serving_client import PATIENCE_S, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serving_client import Served

PROGRAM = """
import asyncio, gc, logging, os, sys, threading, warnings
from runtime.serving.observability.log import Logger, announce
from runtime.serving.observability.stderr import captured_stderr

class Finalized:
    def __del__(self):
        raise ValueError("unraisable")

async def forget():
    async def fail():
        raise ValueError("never retrieved")
    task = asyncio.create_task(fail())
    await asyncio.sleep(0)
    del task
    gc.collect()

def fail():
    raise ValueError("in a thread")

with captured_stderr(Logger()):
    announce("a line of ours")
    {code}
print("plain", file=sys.stderr)
"""


def _run(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code=code)],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    first, *lines, last = done.stderr.splitlines()
    assert (json.loads(first)["text"], last) == ("a line of ours", "plain")
    return lines


@pytest.mark.parametrize(
    ("code", "level", "text"),
    [
        ('os.write(2, b"one line\\n")', "info", "one line"),
        ('os.write(2, b"no end")', "info", "no end"),
        ('os.write(2, b"\\xff\\n")', "info", "\\xff"),
        ('os.write(2, b"E1129 22:32:54.9 1 a.cc:8] failed\\n")', "error", "a.cc:8] failed"),
        (
            'os.write(2, b"\\x1b[0;93m2026-11-29 [W:onnxruntime:, a.cc:1 f] odd\\x1b[m\\n")',
            "info",
            "2026-11-29 [W:onnxruntime:, a.cc:1 f] odd",
        ),
        ('os.write(2, b"\\x1b[1;31m2026 [E:onnxruntime:, a.cc] bad\\x1b[m\\n")', "error", "] bad"),
        ('os.system("echo a child >&2")', "info", "a child"),
        ('warnings.warn("odd")', "info", "UserWarning: odd"),
        ('logging.getLogger("grpc").error("bad")', "error", "bad"),
        ("asyncio.run(forget())", "error", "never retrieved"),
        ("x = threading.Thread(target=fail); x.start(); x.join()", "error", "in a thread"),
        ("Finalized()", "error", "unraisable"),
    ],
    ids=range(12),
)
def test_every_line_is_a_record(code: str, level: str, text: str) -> None:
    """Of C++ libraries, children, warnings, asyncio, threads and finalizers."""
    (line,) = _run(code)
    record = json.loads(line)
    assert record["level"] == level
    assert text in f"{record.get('text')}{record.get('traceback')}"


def test_many_lines_and_long_ones() -> None:
    """A pipe is read while it is written; a flood is cut, which the log says."""
    *lines, last = map(json.loads, _run('[os.write(2, b"%d\\n" % n) for n in range(10_000)]'))
    assert [line["text"] for line in lines] == [str(n) for n in range(200)]
    assert (last["event"], last["left_out"]) == ("output", 9_800)
    lines = _run('os.write(2, b"x" * 200_000)')
    assert "".join(json.loads(line)["text"] for line in lines) == "x" * 200_000


@pytest.mark.parametrize("workers", [1, 2])
def test_grpcs_own_lines_are_records(
    start_server: Callable[..., Served], bundle: Path, workers: int, tmp_path: Path
) -> None:
    """Of the server, too: gRPC reports each handshake that fails."""
    grpc = pytest.importorskip("grpc")
    chain, key = make_certificate(tmp_path, "a")
    tls = ("--tls-cert", chain, "--tls-key", key)
    served = start_server("--bundle", bundle, "--grpc-port", 0, "--workers", workers, *tls)
    plain = grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}")
    with plain as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE_S)
    assert served.end() == 0
    records = [json.loads(line) for line in served.lines[1:]]
    assert {"output", "stopped"} == {record["event"] for record in records}
