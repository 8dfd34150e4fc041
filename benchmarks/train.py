"""Training speed, beside autograd on tensors and the tutorial's DataLoader loop, in one run.

    python benchmarks/train.py [--runs 5] [--device cpu] [--write]

All contenders fit the same network to the same rows, in turn, and evaluate it after every epoch.
Ours and the tutorial's loop log to TensorBoard with the same tags and steps. Two variants of ours
log everything that a run logs, and metrics.jsonl alone. Ours and autograd must end with the same
bits (on CUDA: ours twice). The tutorial's loop is cut off after some batches of a million rows; the
figure is rows per second. The default's ensembles race with the tutorial's loop of a network after
the other, and with their matrix products and AdamW alone: no step can take less than these.
The cost of TensorBoard is measured in CPU time, because wall time varies by a few percent on a busy
machine. Memory is the peak of a fit over the size of its rows, on Linux.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import measure
import torch
from peers.ensemble_loop import run_ensemble_loop
from peers.tutorial_loop import run_loop

from runtime.schema.features import Schema
from trainer.checkpoint.format import FitIdentity
from trainer.checkpoint.state import NoCallback
from trainer.config import Configuration, configure
from trainer.data.dataset import Dataset, Rows, describe_column
from trainer.data.preprocessing import preprocess_dataset
from trainer.data.products import synthetic_products
from trainer.data.splits import split_folds
from trainer.engines.step import update_adamw
from trainer.fit import fit
from trainer.loggers.collection import METRICS, open_loggers
from trainer.loggers.files import JsonlLogger, LogFile
from trainer.loggers.final_summaries import final_records
from trainer.recipe import configure_for_table

if TYPE_CHECKING:
    from trainer.checkpoint.state import Epoch
    from trainer.config import DeviceName
    from trainer.engines import EngineName
    from trainer.engines.state import ModelState
    from trainer.loggers.collection import LoggerCollection

OURS, UNTRACKED, SHOWN = "ours", "ours, no TensorBoard", "ours, all of TensorBoard's tabs"
EAGER, TUTORIAL = "autograd on tensors", "the tutorial's loop"
ARITHMETIC = "its products and AdamW alone"
CONTENDERS = OURS, UNTRACKED, SHOWN, EAGER, TUTORIAL
TEST_ROWS = 200
FEATURES = 20  # of the tables that the default is fitted to
DEFAULT_ROWS = 400, 1_000, 4_000  # training rows: each has another network
DEFAULT_BATCHES, DEFAULT_ASKED = 16, 8.0  # of an epoch of the tutorial's loop, at most; target
ALL_TABS = "the same with all of its tabs"
MEMORY = "peak memory of a fit of 1 M rows ÷ its rows"


@dataclass(frozen=True)
class Case:
    """One size of the problem.

    Attributes:
        rows: training rows.
        batch_size: rows a step.
        epochs: of ours.
        tutorial_batches: of an epoch of the tutorial's loop, at most.
        asked: target of rows per second over those of the tutorial's loop.
        repeats: runs for each of ``--runs`` where the cost of logging is measured.
    """

    rows: int
    batch_size: int
    epochs: int
    tutorial_batches: int
    asked: float
    repeats: int = 1

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.rows:,} rows, batch {self.batch_size}"


@dataclass(frozen=True)
class Rate:
    """Rows a second, by the clock on the wall and by the processor's time."""

    wall: float
    cpu: float


Rates = dict[str, list[Rate]]
Fit = Callable[[Path], int]  # into a folder; returns the rows learned from

CASES = (
    Case(800, 32, 100, 25, 8, repeats=5),
    Case(1_000_000, 32, 1, 1500, 10),
    Case(1_000_000, 4096, 1, 20, 45),
)


def main() -> None:
    """Race the contenders, compare their weights, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--write", action="store_true", help="keep the result")
    args = parser.parse_args()
    torch.set_num_threads(1)  # two are no faster at these sizes, for none of the contenders
    lines: list[str] = []
    asked: list[tuple[str, float, str]] = []
    if args.device == "cpu" and sys.platform == "linux":  # first: nothing else has left its traces
        asked.append((MEMORY, measure_memory(), "≤ 1.5"))
    for case in CASES:
        rates = race(case, args.runs, args.device)
        lines += [describe(case, name, rates) for name in rates]
        gain = over(rates, OURS, TUTORIAL)
        asked.append((f"{case.name}: ours ÷ the tutorial's loop", gain, f"≥ {case.asked:g}"))
        # In pairs: a few percent are lost in what another contender leaves in the caches.
        for tracked, which in ((OURS, "CPU time with TensorBoard ÷ without"), (SHOWN, ALL_TABS)):
            rates = race(case, args.runs * case.repeats, args.device, (tracked, UNTRACKED))
            cost = over(rates, UNTRACKED, tracked, "cpu")
            asked.append((f"{case.name}: {which}", cost, "≤ 1.05" if tracked is OURS else ""))
    for rows in DEFAULT_ROWS:
        configuration, dataset = default_fit(rows)
        size, epochs = configuration.batch_size, configuration.epochs
        case = Case(rows, size, epochs, DEFAULT_BATCHES, DEFAULT_ASKED)
        rates = race_ensembles(case, configuration, dataset, args.runs, args.device)
        name = name_default(rows, configuration, dataset)
        lines += [describe(case, each, rates, name) for each in rates]
        gain = over(rates, OURS, TUTORIAL)
        asked.append((f"{name}: ours ÷ the tutorial's loop", gain, f"≥ {case.asked:g}"))
        limit = over(rates, ARITHMETIC, TUTORIAL)
        asked.append((f"{name}: {ARITHMETIC} ÷ the tutorial's loop", limit, ""))
    head = "| case | contender | rows/s | µs a step | ÷ tutorial |\n|---|---|---|---|---|\n"
    measure.report(
        "train" if args.device == "cpu" else f"train_{args.device}",
        f"Training speed, {device_name(args.device)}, one thread",
        head + "\n".join(lines) + "\n\n" + measure.targets(asked),
        ("onnxferry", "torch", "tensorboard"),
        write=args.write,
    )


def race(case: Case, runs: int, device: DeviceName, names: Sequence[str] = CONTENDERS) -> Rates:
    """Let the contenders fit the tutorial's network to synthetic products."""
    dataset = synthetic_products(1, train_rows=case.rows, test_rows=TEST_ROWS)
    configuration = configure("tutorial", batch_size=case.batch_size, epochs=case.epochs)
    shorter = replace(configuration, epochs=1)
    check_bits(dataset, shorter, device)
    tutorial_rows = dataset.rows
    with tempfile.TemporaryDirectory() as folder:
        contenders: dict[str, Fit] = {
            OURS: lambda logdir: fit_tracked(dataset, configuration, device, logdir),
            UNTRACKED: lambda logdir: fit_untracked(dataset, configuration, device, logdir),
            SHOWN: lambda logdir: fit_shown(dataset, configuration, device, logdir),
            EAGER: lambda _: fit_with("eager", dataset, shorter, device),
            TUTORIAL: lambda logdir: run_loop(
                tutorial_rows, case.batch_size, case.epochs, case.tutorial_batches, logdir
            ),
        }
        return take_turns(contenders, names, runs, Path(folder))


def take_turns(contenders: dict[str, Fit], names: Sequence[str], runs: int, folder: Path) -> Rates:
    """Measure rows a second of each contender, in turn; the first turn is not counted."""
    rates: Rates = {name: [] for name in names}
    for turn in range(runs + 1):
        for name in measure.rotate(names, turn):
            logdir = folder / f"{name} {turn}"
            logdir.mkdir()
            started, worked = time.perf_counter(), time.process_time()
            rows = contenders[name](logdir)
            wall, cpu = time.perf_counter() - started, time.process_time() - worked
            if turn:
                rates[name].append(Rate(rows / wall, rows / cpu))
    return rates


def default_fit(rows: int) -> tuple[Configuration, Dataset]:
    """Choose what the default does with a table of so many rows, and encode the table."""
    configuration = configure_for_table("default", {}, (rows, FEATURES))
    return configuration, preprocess_dataset(draw_table(rows, FEATURES), configuration).dataset


def name_default(rows: int, configuration: Configuration, dataset: Dataset) -> str:
    """Describe the default's network for a table."""
    units, inputs = configuration.hidden[0], dataset.rows.train_features.shape[1]
    networks = f"{configuration.members} of {units} units, {inputs} inputs"
    return f"default, {rows:,} rows, {FEATURES} features ({networks})"


def race_ensembles(
    case: Case, configuration: Configuration, dataset: Dataset, runs: int, device: DeviceName
) -> Rates:
    """Let the contenders fit an ensemble, out of fold and with AdamW."""
    shorter = replace(configuration, epochs=2)
    check_bits(dataset, shorter, device)
    folds = split_folds(dataset.rows.train_labels, configuration.folds, configuration.seed)
    contenders: dict[str, Fit] = {
        OURS: lambda logdir: fit_tracked(dataset, configuration, device, logdir),
        ARITHMETIC: lambda _: run_arithmetic(dataset, configuration, device),
        EAGER: lambda _: fit_with("eager", dataset, shorter, device),
        TUTORIAL: lambda logdir: run_ensemble_loop(
            dataset.rows, folds, shorter, case.tutorial_batches, logdir
        ),
    }
    with tempfile.TemporaryDirectory() as folder:
        return take_turns(contenders, tuple(contenders), runs, Path(folder))


def run_arithmetic(dataset: Dataset, configuration: Configuration, device: DeviceName) -> int:
    """Compute the matrix products and AdamW of ten epochs, on buffers; returns their rows."""
    size, members, units = (
        configuration.batch_size,
        configuration.members,
        configuration.hidden[0],
    )
    inputs, classes = dataset.rows.train_features.shape[1], len(dataset.schema.classes)
    steps = 10 * math.ceil(len(dataset.rows.train_labels) / size)
    draw = partial(torch.rand, device=device)
    batch, bias, delta = draw(size, inputs), draw(members * units, 1), draw(members * units, size)
    first, last = draw(members * units, inputs), draw(members, classes, units)
    first_gradient, last_gradient = torch.empty_like(first), torch.empty_like(last)
    hidden, scores = draw(members, units, size), draw(members, classes, size)
    results = torch.empty_like(delta), torch.empty_like(hidden), torch.empty_like(scores)
    state = [draw(first.numel() + bias.numel() + last.numel()) for _ in range(5)]
    with torch.inference_mode():
        for step in range(steps):
            torch.addmm(bias, first, batch.t(), out=results[0])
            torch.bmm(last, hidden, out=results[2])
            torch.bmm(scores, hidden.transpose(1, 2), out=last_gradient)
            torch.bmm(last.transpose(1, 2), scores, out=results[1])
            torch.mm(delta, batch, out=first_gradient)
            update_adamw(state, 1e-6, 1e-2, step + 1.0)
    if device == "cuda":
        torch.cuda.synchronize()
    return steps * size


def draw_table(rows: int, n_features: int) -> Dataset:
    """Draw standard normal features, and labels that a few of them determine, not quite."""
    generator = torch.Generator().manual_seed(1)
    parts = []
    for count in (rows, TEST_ROWS):
        features = torch.randn(count, n_features, generator=generator)
        noise = torch.randn(count, generator=generator)
        labels = (features[:, 0] * features[:, 1] + features[:, 2] + noise / 2 > 0).long()
        parts += [features, labels]
    names = [f"x{number}" for number in range(n_features)]
    columns = zip(names, parts[0].T.numpy(), strict=True)
    schema = Schema("y", tuple(describe_column(*column) for column in columns), ("no", "yes"))
    return Dataset(schema, Rows(*parts))


def fit_with(
    engine: EngineName, dataset: Dataset, configuration: Configuration, device: DeviceName
) -> int:
    """Fit without writing anything; returns the rows learned from."""
    fit(dataset, configuration, device=device, engine=engine)
    return configuration.epochs * len(dataset.rows.train_labels)


def fit_untracked(
    dataset: Dataset, configuration: Configuration, device: DeviceName, folder: Path
) -> int:
    """Fit and write ``metrics.jsonl`` alone; returns the rows learned from."""
    with LogFile(folder / METRICS) as file:
        fit(dataset, configuration, device=device, on_epoch_end=JsonlLogger(file).log_epoch)
    return configuration.epochs * len(dataset.rows.train_labels)


def fit_tracked(
    dataset: Dataset, configuration: Configuration, device: DeviceName, logdir: Path
) -> int:
    """Fit with the curves that the tutorial's loop writes; returns the rows learned from."""
    with open_loggers(logdir, logdir, {}) as loggers:
        fit(dataset, configuration, device=device, on_epoch_end=loggers.log_epoch)
    return configuration.epochs * len(dataset.rows.train_labels)


def fit_shown(
    dataset: Dataset, configuration: Configuration, device: DeviceName, logdir: Path
) -> int:
    """Fit with all that a run writes for TensorBoard; returns the rows learned from."""
    this = FitIdentity(
        configuration.hidden, configuration.seed, configuration.to_record(device), "", {}
    )
    with open_loggers(logdir, logdir, {}) as loggers:
        fitted = fit(
            dataset,
            configuration,
            device=device,
            on_epoch_end=loggers.log_epoch,
            callback=ParameterLogger(loggers),
        )
        loggers.finalize(final_records(this, dataset, fitted))
    return configuration.epochs * len(dataset.rows.train_labels)


class ParameterLogger(NoCallback):
    """Logs parameters of every epoch, and keeps nothing."""

    def __init__(self, loggers: LoggerCollection) -> None:
        self._loggers = loggers

    def on_epoch_end(self, epoch: Epoch, state: ModelState) -> None:
        """Log gradient norm and weights."""
        self._loggers.log_parameters(epoch, state)


def check_bits(dataset: Dataset, configuration: Configuration, device: DeviceName) -> None:
    """Stop when ours does not end with the bits of autograd, or on CUDA with its own.

    Raises:
        SystemExit: when a weight differs.
    """
    other: EngineName = "eager" if device == "cpu" else "fast"
    ours, theirs = (
        fit(dataset, configuration, device=device, engine=name).model for name in ("fast", other)
    )
    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        if mine.detach().numpy().tobytes() != yours.detach().numpy().tobytes():
            sys.exit("two fits that must be bit-equal are not")


def measure_memory() -> float:
    """Divide the peak of a fit, its rows included, by the rows; after a fit that warms up."""
    dataset = synthetic_products(1, train_rows=1_000_000, test_rows=TEST_ROWS)
    tensors = sum(part.numel() * part.element_size() for part in dataset.rows.by_name().values())
    status = Path("/proc/self/status")
    configuration = configure(epochs=1, batch_size=4096)
    fit(synthetic_products(1, train_rows=40_000), configuration)
    ctypes.CDLL(None).malloc_trim(0)  # what was freed is given back, and not counted twice
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)
    before = field(status, "VmRSS")
    fit(dataset, configuration)
    return (tensors + field(status, "VmHWM") - before) / tensors


def field(status: Path, name: str) -> float:
    """Read a size of this process, in bytes."""
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(f"{name}:"))
    return float(line.split()[1]) * 1024


def over(rates: Rates, one: str, other: str, unit: Literal["wall", "cpu"] = "wall") -> float:
    """Divide the rates of two contenders: the median over the turns."""
    pairs = zip(rates[one], rates[other], strict=True)
    return float(statistics.median(getattr(a, unit) / getattr(b, unit) for a, b in pairs))


def describe(case: Case, name: str, rates: Rates, case_name: str = "") -> str:
    """Format one line of the table."""
    rate = statistics.median(rate.wall for rate in rates[name])
    return (
        f"| {case_name or case.name} | {name} | {rate:,.0f} | {case.batch_size / rate * 1e6:.1f} | "
        f"{over(rates, name, TUTORIAL):.1f} |"
    )


def device_name(device: DeviceName) -> str:
    """Name the device."""
    return "CPU" if device == "cpu" else torch.cuda.get_device_name()


if __name__ == "__main__":
    main()
