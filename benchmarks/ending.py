"""Requests lost in a graceful shutdown: busy keep-alive connections, and SIGTERM.

Every client sends its next request as soon as it has a response, until the server closes its
connection, with or without ``Connection: close``. A server that still runs after the wait is
killed, after its clients received their last responses. Servers are stopped in turn, round after
round; see benchmarks/serve.py for --peers and --without.

python benchmarks/ending.py [--peers DIR] [--rounds 5] [--wait 10] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import measure
import uvloop
from serve import OURS, PEERS
from serving.busy import Question, Tally, connect, make_questions
from serving.contenders import Contender, ours

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CONNECTIONS = (16, 64)
BUSY_S = 0.5  # before the signal
LAST_ANSWERS_S = 1.0  # of the wait, for what is on its way when the clients stop
LOOK_S = 0.002


@dataclass(frozen=True)
class Ending:
    """Shutdown of one server.

    Attributes:
        tally: results of its clients.
        after: responses since the signal.
        gone_s: seconds from the signal until the process exited; None if it did not.
        quiet_s: of these, the seconds since the last response.
        code: its exit code; negative for a signal.
    """

    tally: Tally
    after: int
    gone_s: float | None
    quiet_s: float | None
    code: int | None


async def end(server: Contender, questions: list[Question], wait_s: float) -> Ending:
    """Put a load on a server, send SIGTERM, and watch."""
    tally = Tally()
    clients = await connect(server.port, questions, tally)
    await asyncio.sleep(BUSY_S)
    before, told = tally.right + tally.wrong, time.perf_counter()
    server.process.send_signal(signal.SIGTERM)
    is_gone = await wait_for_end(server, told + wait_s - LAST_ANSWERS_S)
    for client in clients:
        client.stop()
    is_gone = is_gone or await wait_for_end(server, told + wait_s)
    now = time.perf_counter()
    if is_gone:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_ANSWERS_S):
                await asyncio.gather(*(client.ended.wait() for client in clients))
    else:
        tally.lost += sum(client.waits for client in clients)
    return Ending(
        tally,
        tally.right + tally.wrong - before,
        now - told if is_gone else None,
        now - tally.last if is_gone else None,
        server.process.poll(),
    )


async def wait_for_end(server: Contender, until: float) -> bool:
    """Wait for a process; return whether it ended in time."""
    while server.process.poll() is None:
        if time.perf_counter() > until:
            return False
        await asyncio.sleep(LOOK_S)
    return True


def describe(connections: int, found: dict[str, list[Ending]], wait_s: float) -> str:
    """Format the table for one number of connections."""
    lines = [
        f"## {connections} busy connections",
        "",
        (
            "| server | lost, median | lost, maximum | sent Connection: close "
            "| responses after SIGTERM | wrong | exited after, s | since the last response, s "
            "| exit code |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, endings in found.items():
        tallies = [one.tally for one in endings]
        lost = [one.lost for one in tallies]
        codes = sorted({str(one.code) for one in endings if one.gone_s is not None})
        columns = [
            f"{statistics.median(lost):.0f}",
            f"{max(lost)}",
            f"{statistics.median(one.told for one in tallies):.0f}",
            f"{statistics.median(one.after for one in endings):,.0f}",
            f"{sum(one.wrong for one in tallies)}",
            seconds([one.gone_s for one in endings]) or f"not within {wait_s:g}: killed",
            seconds([one.quiet_s for one in endings]) or "",
            ", ".join(codes) or "",
        ]
        lines.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(lines)


def seconds(measured: Sequence[float | None]) -> str:
    """Format the median; empty without values."""
    known = [one for one in measured if one is not None]
    if not known:
        return ""
    killed = f" ({len(measured) - len(known)} killed)" if len(known) < len(measured) else ""
    return f"{statistics.median(known):.2f}{killed}"


def main() -> None:
    """Start, load, stop, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("artifacts/bundle"))
    parser.add_argument("--peers", type=Path, default=Path("artifacts/peers"))
    parser.add_argument("--without", action="append", default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--wait", type=float, default=10.0, help="seconds")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    bundle, peers = args.bundle.resolve(), args.peers.resolve()
    starters = {OURS: ours(bundle)}
    for name, peer in PEERS.items():
        if name.partition(",")[0].lower() not in args.without:
            starters[name] = peer(bundle, peers)
    questions = make_questions(bundle, max(CONNECTIONS))
    parts = [
        describe(count, race(starters, questions[:count], args), args.wait) for count in CONNECTIONS
    ]
    measure.report(
        "ending",
        "Graceful shutdown under load",
        "\n\n".join(parts),
        ("onnxferry", "onnxruntime-gpu", "uvloop", "httptools"),
        note=(
            "SIGTERM is sent half a second after the clients start. A lost request was sent "
            "completely and got no complete response; every response is compared with the "
            "runtime's. Medians over the rounds, except the maximum and wrong, which is a sum. "
            "Clients and server share the processors."
        ),
        write=args.write,
    )


def race(
    starters: dict[str, Callable[[], Contender]],
    questions: list[Question],
    args: argparse.Namespace,
) -> dict[str, list[Ending]]:
    """Start and stop all of them in turn."""
    found: dict[str, list[Ending]] = {name: [] for name in starters}
    for _ in range(args.rounds):
        for name, begin in starters.items():
            server = begin()
            try:
                found[name].append(uvloop.run(end(server, questions, args.wait)))
            finally:
                server.stop()
    return found


if __name__ == "__main__":
    main()
