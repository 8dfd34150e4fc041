"""The command ``runtime``: parse, call the library, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from runtime import console
from runtime.choices import BadRows, ProviderChoice
from runtime.command_line import DEFAULT_BUNDLE, BundleArgument, JsonOption, new_app
from runtime.errors import ParityError
from runtime.files import STANDARD_STREAM

if TYPE_CHECKING:
    from runtime.summary import Summary

app = new_app("runtime", "Score files with a proven bundle, without torch.")


ProviderOption = Annotated[
    ProviderChoice,
    typer.Option(help="What runs the model; auto takes CUDA where it works and says so."),
]
# typer's own look at a path would give other messages and exit codes than ours: readable=False.
FileOption = Annotated[
    Path, typer.Option(help="The table to score (CSV); - is standard input.", readable=False)
]
OutOption = Annotated[
    Path, typer.Option(help="Where to write; - is standard output.", readable=False)
]


@app.command()
def predict(
    file: FileOption,
    bundle: Annotated[
        Path, typer.Option(envvar="ONNXFERRY_BUNDLE", help="The bundle's folder.", readable=False)
    ] = DEFAULT_BUNDLE,
    out: OutOption = STANDARD_STREAM,
    provider: ProviderOption = "auto",
    bad_rows: Annotated[
        BadRows,
        typer.Option(
            help="Rows that cannot be scored: fail refuses the file, reject lists them in "
            "OUT.rejects.csv, null keeps them with empty answers and a reason."
        ),
    ] = "fail",
    rejects: Annotated[
        Path | None, typer.Option(help="Where --bad-rows reject lists them.", readable=False)
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to carry along, separated by commas (default: all)."),
    ] = None,
    proba: Annotated[
        bool, typer.Option("--proba", help="Add one column a class with its probability.")
    ] = False,
    prefix: Annotated[str, typer.Option(help="Put before each new column's name.")] = "",
    threads: Annotated[
        int | None, typer.Option(min=1, max=64, help="Blocks scored at once (default: one a CPU).")
    ] = None,
    check: Annotated[bool, typer.Option(help="Run the bundle's golden rows first.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Score a table: its columns unchanged, then label and probability."""
    from runtime.options import Options
    from runtime.predictor import Predictor
    from runtime.progress import scoring_progress
    from runtime.scoring import score_file

    predictor = Predictor.open(bundle, provider=provider, check=check)
    options = Options(
        bad_rows=bad_rows,
        columns=_names(columns),
        proba=proba,
        prefix=prefix,
        rejects=rejects,
        threads=threads,
    )
    with console.until_reader_leaves(), scoring_progress(file, out) as on_progress:
        summary = score_file(predictor, file, out, options, on_progress)
    if as_json:
        answer = console.as_json(_summary_values(summary))
        console.say(answer) if out == STANDARD_STREAM else console.show(answer)
    else:
        console.say(_describe(summary, out, predictor.session.reason))


@app.command()
def verify(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    provider: ProviderOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Check a bundle's hashes and run its golden rows on this machine."""
    from runtime.predictor import Predictor

    try:
        predictor = Predictor.open(bundle, provider=provider)
    except ParityError:
        if as_json:
            console.show(console.as_json({"passed": False, "bundle": str(bundle)}))
        raise
    manifest, check = predictor.manifest, predictor.check
    if as_json:
        console.show(
            console.as_json(
                {
                    "passed": True,
                    "bundle": str(bundle),
                    "version": manifest.model.version,
                    "provider": predictor.provider,
                    "files": len(manifest.files),
                    "worst_error_over_bound": check.worst_error_over_bound if check else None,
                    "undecidable": check.undecidable if check else None,
                }
            )
        )
    else:
        console.show(
            f"{bundle}: {manifest.model.name} {manifest.model.version} is intact; "
            f"{len(manifest.files)} files hashed, golden rows within their bounds "
            f"on {predictor.provider} ({predictor.session.reason})"
        )


@app.command()
def inspect(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    as_json: JsonOption = False,
) -> None:
    """Show what is in a bundle, its hashes checked; nothing is run."""
    from runtime.bundle import read_bundle
    from runtime.description import describe

    manifest = read_bundle(bundle).manifest
    console.show(manifest.to_json().decode().rstrip() if as_json else describe(manifest))


def _names(text: str | None) -> tuple[str, ...] | None:
    """Split a list of column names; names with commas are quoted as in CSV."""
    if text is None:
        return None
    import csv

    return tuple(next(csv.reader([text]), []))


def _summary_values(summary: Summary) -> dict[str, object]:
    return {
        "rows": summary.rows,
        "scored": summary.scored,
        "rejected": summary.rejected,
        "provider": summary.provider,
        "seconds": round(summary.seconds, 6),
        "rows_per_second": round(summary.rows_per_second),
        "reasons": summary.reasons,
        "rejects": str(summary.rejects) if summary.rejects else None,
    }


def _describe(summary: Summary, out: Path, reason: str) -> str:
    where = "standard output" if out == STANDARD_STREAM else str(out)
    text = (
        f"{summary.scored:,} of {summary.rows:,} rows scored to {where} "
        f"in {summary.seconds:.2f} s ({summary.rows_per_second:,.0f} rows/s) "
        f"on {summary.provider} ({reason})"
    )
    if not summary.rejected:
        return text
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
    kept = f"listed in {summary.rejects}" if summary.rejects else "kept with empty answers"
    return f"{text}\n{summary.rejected:,} bad rows {kept}: {reasons}"


def main() -> NoReturn:
    """Run the command line."""
    console.run(app, "runtime")
