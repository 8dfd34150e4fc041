"""The command ``exporter``: parse, call the library, say what happened.

Torch is imported by the command that needs it, so that help starts at once.
"""

from __future__ import annotations

import gc
import shlex
import time
from collections import Counter
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
    from exporter.proof.parity import Report
    from runtime.schema.features import Schema

app = new_app("exporter", "Make bundles that carry a proof of what they compute.")

_OF_PRODUCTS = ("price", "rating")  # as `trainer sample` and make write them to products.csv
_PROVEN = {"derived": "proven", "measured": "measured, not derived"}
_LIMIT = {"derived": "bound", "measured": "tolerance"}

RunOption = Annotated[
    Path | None, typer.Option(help="The run's folder.", show_default=str(DEFAULT_RUN))
]
ContenderOption = Annotated[
    str | None, typer.Option(help="Run this contender alone, such as onnx-cpu-all-1.")
]
BatchOption = Annotated[int | None, typer.Option(help="Run this batch size alone.")]
RowOption = Annotated[
    int | None, typer.Option(help="Run the batch that holds this row alone; needs --batch.")
]


@app.command()
def export(
    run: RunOption = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PACKAGE.MODULE:FACTORY",
            help="Export a torch module of your own instead of a run; needs --weights, --schema.",
        ),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Its state dict: .safetensors, or saved by torch.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="Its columns, their ranges and its classes, as JSON.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Its name in the bundle.")] = None,
    out: Annotated[
        Path, typer.Option(help="The bundle's folder; an older bundle is replaced.")
    ] = DEFAULT_BUNDLE,
    contender: ContenderOption = None,
    batch: BatchOption = None,
    row: RowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle from a run, or a model of your own: ONNX, TorchScript and their proof.

    Nothing is published when the proof fails (exit 5), or when only a part of it is run.
    """
    start = time.perf_counter()
    from exporter.export import export_candidate, try_candidate
    from exporter.progress import proof_progress
    from exporter.rows.plan import FULL
    from exporter.source.options import Source

    plan = FULL.only(contender, batch, row)
    source = Source(run, model, weights, schema, name)
    candidate = source.candidate()
    with proof_progress() as watch:
        if not plan.is_whole:
            report = try_candidate(candidate, plan, again=source.command, watch=watch)
        else:
            exported = export_candidate(
                candidate, out, again=source.command, plan=plan, watch=watch
            )
    if not plan.is_whole:
        _tell_part(report, start, as_json=as_json)
        return
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_values(exported.report, out, seconds)))
        return
    made = exported.manifest.model
    process.log(
        f"{printable(made.name)} {made.version}: {', '.join(exported.manifest.files)}\n"
        f"{_describe(exported.report)}, {seconds:.1f} s\n"
        f"next: {name_next_step(exported.manifest.schema, out)}"
    )
    process.echo(str(out))


@app.command()
def verify(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    contender: ContenderOption = None,
    batch: BatchOption = None,
    row: RowOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat a bundle's whole proof on this machine, or a part of it."""
    start = time.perf_counter()
    from exporter.progress import proof_progress
    from exporter.proof.parity import require
    from exporter.rows.plan import FULL
    from exporter.verify import verify_bundle

    plan = FULL.only(contender, batch, row)
    with proof_progress() as watch:
        report = verify_bundle(bundle, plan=plan, watch=watch)
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_values(report, bundle, seconds)))
    again = f"exporter verify {shlex.quote(str(bundle))}"
    require(report, again=again, consequence=f"do not serve {bundle} on this machine")
    if not as_json:
        process.echo(printable(f"{bundle}: {_describe(report)}, {seconds:.1f} s"))


def name_next_step(schema: Schema, out: Path) -> str:
    """Name the command that scores with a bundle; of another table than products, which FILE."""
    file = "products.csv" if schema.feature_names == _OF_PRODUCTS else "FILE"
    option = "" if out == DEFAULT_BUNDLE else f" --bundle {shlex.quote(str(out))}"
    return f"runtime predict --file {file}{option}"


def _tell_part(report: Report, start: float, *, as_json: bool) -> None:
    """Say how a part of the proof went; there is no bundle then."""
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_values(report, None, seconds)))
    else:
        process.log(f"{_describe(report)}, {seconds:.1f} s; a part: nothing was published")


def _values(report: Report, bundle: Path | None, seconds: float) -> dict[str, object]:
    return {
        "passed": report.passed,
        "tolerance": report.tolerance,
        "bundle": bundle and str(bundle),
        "worst_error_over_bound": report.worst_error_over_bound,
        "undecidable": report.undecidable,
        "undecidable_on_boundaries": report.undecidable_on_boundaries,
        "contenders": report.contenders,
        "batches": report.batches,
        "rows": report.rows,
        "seconds": round(seconds, 3),
    }


def _describe(report: Report) -> str:
    kinds = Counter("-".join(name.split("-")[:2]) for name in report.contenders)
    names = [f"{kind} ({many} settings)" if many > 1 else kind for kind, many in kinds.items()]
    return (
        f"{_PROVEN[report.tolerance]}: {', '.join(names)} in batches of "
        f"{', '.join(map(str, report.batches))}, up to {report.rows:,} rows each; "
        f"worst error {report.worst_error_over_bound:.3f} of its {_LIMIT[report.tolerance]}, "
        f"{report.undecidable} rows undecidable (and {report.undecidable_on_boundaries} by design)"
    )


def main() -> NoReturn:
    """Run the command line."""
    # Importing torch makes a million objects that live as long as the process: looking through
    # them for garbage again and again takes a fifth of the whole time.
    gc.disable()
    process.run(app, "exporter")
