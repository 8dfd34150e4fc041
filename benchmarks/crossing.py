"""The size from which a fit is faster on this machine's CUDA device: the rule of --device auto.

    python benchmarks/crossing.py [--runs 3] [--write]

Both devices fit the same network to the same rows, in turn, with increasing batch sizes. The time
of a step is that of the epochs after the first, divided by their steps. The start-up time of CUDA
is that of a process with a short fit, less that of the same fit on the CPU. ``--write`` keeps the
result and adds the GPU to trainer/crossings.json, which --device auto reads.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import measure
import msgspec
import torch

from trainer.config import configure
from trainer.data.products import synthetic_products
from trainer.device import CROSSOVERS, Crossover, find_crossover, read_crossovers
from trainer.fit import fit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trainer.checkpoint.state import Epoch
    from trainer.config import DeviceName
    from trainer.data.dataset import Dataset

SIZES: Final = (32, 128, 512, 1024, 2048, 4096, 16384, 65536)
MOST_STEPS, MOST_ROWS = 400, 2**21  # of an epoch
EPOCHS: Final = 3
START: Final = (
    "import sys; from trainer.config import configure; from trainer.fit import fit; "
    "from trainer.data.products import synthetic_products; "
    "fit(synthetic_products(1), configure(epochs=1), device=sys.argv[1])"
)
DEVICES: Final[tuple[DeviceName, ...]] = ("cpu", "cuda")


def main() -> None:
    """Measure both devices, find the crossing, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the result, and the crossing")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        print("torch sees no CUDA device: there is nothing to cross with")
        return
    start_s = measure_start(args.runs)
    steps = [measure_size(size, args.runs) for size in SIZES]
    cpu, cuda = ([seconds[device] for seconds in steps] for device in DEVICES)
    card, found = torch.cuda.get_device_name(), find_crossover(SIZES, cpu, cuda, start_s)
    measure.report(
        "crossing",
        f"A step on the CPU and on {card}",
        f"{table(cpu, cuda)}\n\n{describe(found, start_s)}",
        ("onnxferry", "torch"),
        write=args.write,
    )
    if args.write:
        keep(card, found)


def measure_start(runs: int) -> float:
    """Measure the seconds that a process with a short fit takes longer on CUDA."""
    commands = {str(device): [sys.executable, "-c", START, device] for device in DEVICES}
    raced = measure.race(commands, runs)
    cpu, cuda = (statistics.median(run.wall for run in runs) for runs in raced.values())
    return max(cuda - cpu, 0.0)


def measure_size(size: int, runs: int) -> dict[DeviceName, float]:
    """Measure the median seconds of a step on each device, in turn."""
    rows = size * max(1, min(MOST_STEPS, MOST_ROWS // size))
    dataset = synthetic_products(1, train_rows=rows)
    found: dict[DeviceName, list[float]] = {device: [] for device in DEVICES}
    for _ in range(runs):
        for device in DEVICES:
            found[device].append(time_step(dataset, size, device))
    return {device: statistics.median(seconds) for device, seconds in found.items()}


def time_step(dataset: Dataset, size: int, device: DeviceName) -> float:
    """Measure the seconds of a step, in the epochs after the first."""
    ends: list[float] = []

    def note(_: Epoch) -> None:
        ends.append(time.perf_counter())

    fit(dataset, configure(epochs=EPOCHS, batch_size=size), device=device, on_epoch_end=note)
    steps = len(dataset.rows.train_labels) // size
    return (ends[-1] - ends[0]) / (steps * (EPOCHS - 1))


def table(cpu: Sequence[float], cuda: Sequence[float]) -> str:
    """Format one line per size."""
    lines = [
        f"| {size:,} | {here * 1e6:.1f} | {there * 1e6:.1f} | {here / there:.2f} |"
        for size, here, there in zip(SIZES, cpu, cuda, strict=True)
    ]
    head = ["| batch | CPU, µs a step | CUDA, µs a step | CPU ÷ CUDA |", "|---|---|---|---|"]
    return "\n".join(head + lines)


def describe(found: Crossover, start_s: float) -> str:
    """Describe the rule that follows."""
    started = f"CUDA starts in {start_s:.2f} s"
    if found.batch_size is None:
        return f"{started}, and is not faster at any size: `--device auto` stays on the CPU."
    return (
        f"{started}. `--device auto` takes it from batches of {found.batch_size:,} rows and "
        f"{found.rows:,} rows in all epochs together on."
    )


def keep(card: str, found: Crossover) -> None:
    """Add a GPU to the trainer's table."""
    known = dict(sorted((read_crossovers() | {card: found}).items()))
    content = msgspec.json.format(msgspec.json.encode(known), indent=2)
    (Path(__file__).parents[1] / "trainer" / CROSSOVERS).write_bytes(content + b"\n")


if __name__ == "__main__":
    main()
