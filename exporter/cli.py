"""The command ``exporter``: parse, call the library, say what happened.

Torch is imported by the command that needs it, so that help starts at once.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runtime import console
from runtime.command_line import JsonOption, new_app

if TYPE_CHECKING:
    from exporter.parity import Report

app = new_app("exporter", "Make bundles that carry a proof of what they compute.")

DEFAULT_RUN = Path("artifacts/run")
DEFAULT_BUNDLE = Path("artifacts/bundle")


@app.command()
def export(
    run: Annotated[Path, typer.Option(help="The run's folder.")] = DEFAULT_RUN,
    out: Annotated[
        Path, typer.Option(help="The bundle's folder; an older bundle is replaced.")
    ] = DEFAULT_BUNDLE,
    as_json: JsonOption = False,
) -> None:
    """Make a bundle from a run: TorchScript, ONNX and the proof that both are right.

    Nothing is published when the proof fails (exit 5).
    """
    start = time.perf_counter()
    from exporter.export import export_run

    exported = export_run(run, out)
    seconds = time.perf_counter() - start
    if as_json:
        console.show(console.as_json(_values(exported.report, out, seconds)))
        return
    model = exported.manifest.model
    option = "" if out == DEFAULT_BUNDLE else f" --bundle {out}"
    console.say(
        f"{model.name} {model.version}: {', '.join(exported.manifest.files)}\n"
        f"{_describe(exported.report)}, {seconds:.1f} s\n"
        f"next: runtime predict --file products.csv{option}"
    )
    console.show(str(out))


@app.command()
def verify(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")] = DEFAULT_BUNDLE,
    as_json: JsonOption = False,
) -> None:
    """Repeat a bundle's whole proof on this machine."""
    start = time.perf_counter()
    from exporter.parity import require
    from exporter.verify import verify_bundle

    report = verify_bundle(bundle)
    seconds = time.perf_counter() - start
    if as_json:
        console.show(console.as_json(_values(report, bundle, seconds)))
    require(report, consequence=f"do not serve {bundle} on this machine")
    if not as_json:
        console.show(f"{bundle}: {_describe(report)}, {seconds:.1f} s")


def _values(report: Report, bundle: Path, seconds: float) -> dict[str, object]:
    return {
        "passed": report.passed,
        "bundle": str(bundle),
        "worst_error_over_bound": report.worst_error_over_bound,
        "undecidable": report.undecidable,
        "undecidable_on_boundaries": report.undecidable_on_boundaries,
        "contenders": report.contenders,
        "batches": report.batches,
        "rows": report.rows,
        "seconds": round(seconds, 3),
    }


def _describe(report: Report) -> str:
    return (
        f"proven: {', '.join(report.contenders)} in batches of "
        f"{', '.join(map(str, report.batches))}, {report.rows:,} rows each; "
        f"worst error {report.worst_error_over_bound:.3f} of its bound, "
        f"{report.undecidable} rows undecidable (and {report.undecidable_on_boundaries} by design)"
    )


def main() -> NoReturn:
    """Run the command line."""
    # Importing torch makes a million objects that live as long as the process: looking through
    # them for garbage again and again takes a fifth of the whole time.
    gc.disable()
    console.run(app, "exporter")
