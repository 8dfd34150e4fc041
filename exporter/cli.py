"""The command ``exporter``; torch is imported by the subcommands, so that help is immediate."""

from __future__ import annotations

import ctypes
import gc
import os
import shlex
import sys
import time
from collections import Counter
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runtime.printable import printable
from runtime.terminal import process
from runtime.terminal.options import (
    DEFAULT_BUNDLE,
    DEFAULT_RUN,
    BundleArgument,
    JsonOption,
    new_app,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exporter.parity.matrix import OnProgress, Progress
    from exporter.parity.report import Report
    from runtime.schema.features import Schema

app = new_app("exporter", "Export models as bundles with a proof of parity.")

_STDOUT, _STDERR = 1, 2  # file descriptors
_PRODUCT_FEATURES = ("price", "rating")  # of products.csv, which `trainer sample` and make write
_TOLERANCE = {"derived": "proven", "measured": "measured, not derived"}
_LIMIT = {"derived": "bound", "measured": "tolerance"}

RunOption = Annotated[Path | None, typer.Option(help="Run folder.", show_default=str(DEFAULT_RUN))]
BackendOption = Annotated[
    str | None, typer.Option("--contender", help="Run only this backend, such as onnx-cpu-all-1.")
]
BatchOption = Annotated[int | None, typer.Option(help="Run only this batch size.")]
RowOption = Annotated[
    int | None, typer.Option(help="Run only the batch with this row; needs --batch.")
]


@app.command()
def export(
    run: RunOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE.MODULE:FACTORY",
            help="Export your own torch module instead of a run; needs --weights and --schema.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its state dict: .safetensors, or written by torch.save.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Its columns, their ranges and its classes, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Model name in the bundle.")] = None,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="What it returns, where its graph does not show it: logits or probabilities of "
            "all classes, or the logit or probability of the second.",
        ),
    ] = None,
    output_name: Annotated[
        str | None, typer.Option(help="Which of several outputs that is.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Bundle folder; an existing bundle is replaced.")
    ] = DEFAULT_BUNDLE,
    backend: BackendOption = None,
    batch: BatchOption = None,
    row: RowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a run, or your own model, as a bundle: ONNX, TorchScript and the proof of parity.

    Nothing is published when the proof fails (exit 5), or when only a part of it is run.
    """
    start = time.perf_counter()
    from exporter.export import check_candidate, export_candidate
    from exporter.parity.rows import FULL
    from exporter.source.factory import ModelSource

    plan = FULL.only(backend, batch, row)
    source = ModelSource(run, model, weights, schema, name, output, output_name)
    with stdout_as_stderr():  # the user's module may print when it is imported, made or run
        candidate = source.load()
    if candidate.weights:
        process.log(f"{printable(str(weights))}: {candidate.weights}")
    if not plan.is_complete:
        with proof_progress() as on_progress, stdout_as_stderr():
            report = check_candidate(
                candidate, plan, command=source.command, on_progress=on_progress
            )
        _report_partial(report, start, as_json=as_json)
        return
    with (
        process.on_interrupt(lambda: "nothing was published"),
        proof_progress() as on_progress,
        stdout_as_stderr(),
    ):
        exported = export_candidate(
            candidate, out, command=source.command, plan=plan, on_progress=on_progress
        )
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_to_json(exported.report, out, seconds)))
        return
    written = exported.manifest.model
    process.log(
        f"{printable(written.name)} {written.version}: {', '.join(exported.manifest.files)}\n"
        f"{_summarise(exported.report)}, {seconds:.1f} s\n"
        f"next: {next_step(exported.manifest.schema, out)}"
    )
    process.echo(str(out))


@app.command()
def verify(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    backend: BackendOption = None,
    batch: BatchOption = None,
    row: RowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat a bundle's whole proof on this machine, or a part of it."""
    start = time.perf_counter()
    from exporter.parity.report import require
    from exporter.parity.rows import FULL
    from exporter.verify import verify_bundle

    plan = FULL.only(backend, batch, row)
    with proof_progress() as on_progress:
        report = verify_bundle(bundle, plan=plan, on_progress=on_progress)
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_to_json(report, bundle, seconds)))
    command = f"exporter verify {shlex.quote(str(bundle))}"
    require(report, command=command, consequence=f"do not serve {bundle} on this machine")
    if not as_json:
        process.echo(printable(f"{bundle}: {_summarise(report)}, {seconds:.1f} s"))


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Send what a user's module prints to stderr, C libraries of it too: stdout has the result."""
    sys.stdout.flush()
    stdout = os.dup(_STDOUT)
    os.dup2(_STDERR, _STDOUT)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        ctypes.CDLL(None).fflush(None)  # what C has buffered
        os.dup2(stdout, _STDOUT)
        os.close(stdout)


@contextmanager
def proof_progress() -> Iterator[OnProgress | None]:
    """Show a progress bar on stderr where that is a terminal; yields None elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as ProgressBar

    columns = (
        TextColumn("proving"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[cell]}"),
    )
    with ProgressBar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("proof", total=None, cell="")

        def on_progress(progress: Progress) -> None:
            cell = f"{progress.backend} at batch {progress.batch}"
            bar.update(task, completed=progress.done, total=progress.total, cell=cell)

        yield on_progress


def next_step(schema: Schema, out: Path) -> str:
    """Return the command that scores with a bundle; FILE is the table to score."""
    file = "products.csv" if schema.feature_names == _PRODUCT_FEATURES else "FILE"
    option = "" if out == DEFAULT_BUNDLE else f" --bundle {shlex.quote(str(out))}"
    return f"runtime predict --file {file}{option}"


def _report_partial(report: Report, start: float, *, as_json: bool) -> None:
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_to_json(report, None, seconds)))
    else:
        process.log(f"{_summarise(report)}, {seconds:.1f} s; partial run: nothing was published")


def _to_json(report: Report, bundle: Path | None, seconds: float) -> dict[str, object]:
    return {
        "passed": report.passed,
        "tolerance": report.tolerance,
        "bundle": bundle and str(bundle),
        "worst_error_over_bound": report.worst_error_over_bound,
        "undecidable": report.undecidable,
        "undecidable_on_boundaries": report.undecidable_on_boundaries,
        "contenders": report.backends,
        "batches": report.batches,
        "rows": report.rows,
        "seconds": round(seconds, 3),
        **({"output": report.output} if report.output else {}),
    }


def _summarise(report: Report) -> str:
    kinds = Counter("-".join(name.split("-")[:2]) for name in report.backends)
    names = [f"{kind} ({many} settings)" if many > 1 else kind for kind, many in kinds.items()]
    output = f"output: {report.output}\n" if report.output else ""
    return (
        f"{output}{_TOLERANCE[report.tolerance]}: {', '.join(names)} in batches of "
        f"{', '.join(map(str, report.batches))}, up to {report.rows:,} rows each; "
        f"worst error {report.worst_error_over_bound:.3f} of its {_LIMIT[report.tolerance]}, "
        f"{report.undecidable} rows undecidable (and {report.undecidable_on_boundaries} by design)"
    )


def main() -> NoReturn:
    """Run the command line."""
    # Importing torch creates a million objects that live as long as the process: scanning them for
    # garbage takes a fifth of an export.
    gc.disable()
    process.run(app, "exporter")
