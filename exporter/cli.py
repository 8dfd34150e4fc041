"""The command ``exporter``; torch is imported by the subcommands, so that help is immediate."""

from __future__ import annotations

import gc
import shlex
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from exporter.packaging.kinds import Kind  # noqa: TC001 - typer reads the annotation
from exporter.terminal import (
    PASSPHRASE_VARIABLE,
    progress_bar,
    read_passphrase,
    stdout_as_stderr,
)
from runtime.io.paths import Location
from runtime.printable import list_names, printable
from runtime.terminal import process
from runtime.terminal.options import (
    DEFAULT_BUNDLE,
    DEFAULT_RUN,
    BundleArgument,
    JsonOption,
    KeyOption,
    local_path_option,
    location_option,
    new_app,
)

if TYPE_CHECKING:
    from exporter.parity.report import Report
    from runtime.schema.features import Schema

app = new_app("exporter", "Export models as bundles with a proof of parity.")

DEFAULT_PACKAGES = Path("artifacts/packages")
_PRODUCT_FEATURES = ("price", "rating")  # of products.csv, which `trainer sample` and make write
_TOLERANCE = {"derived": "proven", "measured": "measured, not derived"}
_UNSIGNED = "the bundle that was replaced was signed, this one is not: see exporter sign\n"
_LIMIT = {"derived": "bound", "measured": "tolerance"}

RunOption = Annotated[
    Location | None,
    location_option(
        "Run folder, a path or URI.",
        show_default=str(DEFAULT_RUN),
    ),
]
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
        Path | None,
        local_path_option("Its state dict: .safetensors, or written by torch.save."),
    ] = None,
    schema: Annotated[
        Path | None,
        local_path_option("Its columns, their ranges and its classes, as JSON."),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(help="Name of the model, by which servers and platforms know it."),
    ] = None,
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
        Path,
        local_path_option("Bundle folder; an existing bundle is replaced."),
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
    was_signed = (out / "model.sig").exists()
    with (
        process.on_interrupt(lambda: _unpublished(out)),
        progress_bar() as on_progress,
        stdout_as_stderr(),  # the user's module may print when it is imported, made or run
    ):
        from exporter.bundling import check_candidate, export_candidate
        from exporter.parity.rows import FULL
        from exporter.source.factory import ModelSource

        plan = FULL.only(backend, batch, row)
        source = ModelSource(run, model, weights, schema, name, output, output_name)
        candidate = source.load()
        if candidate.weights:
            process.log(f"{printable(str(weights))}: {candidate.weights}")
        if plan.is_complete:
            exported = export_candidate(
                candidate, out, command=source.command, plan=plan, on_progress=on_progress
            )
        else:
            report = check_candidate(
                candidate, plan, command=source.command, on_progress=on_progress
            )
    if not plan.is_complete:
        _report_partial(report, start, as_json=as_json)
        return
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_to_json(exported.report, out, seconds)))
        return
    written = exported.manifest.model
    process.log(
        f"{printable(written.name)} {written.version}: {', '.join(exported.manifest.files)}\n"
        f"{_summarise(exported.report)}, {seconds:.1f} s\n"
        f"{_UNSIGNED if was_signed else ''}next: {next_step(exported.manifest.schema, out)}"
    )
    process.echo(str(out))


@app.command()
def verify(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    backend: BackendOption = None,
    batch: BatchOption = None,
    row: RowOption = None,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Repeat a bundle's whole proof on this machine, or a part of it."""
    start = time.perf_counter()
    unverified = f"nothing is proven, and {bundle} is unchanged"
    with process.on_interrupt(lambda: unverified), progress_bar() as on_progress:
        from exporter.parity.report import require
        from exporter.parity.rows import FULL
        from exporter.verify import verify_bundle

        plan = FULL.only(backend, batch, row)
        report = verify_bundle(bundle, plan=plan, on_progress=on_progress, key=key)
    seconds = time.perf_counter() - start
    if as_json:
        process.echo(process.compact_json(_to_json(report, bundle, seconds)))
    command = f"exporter verify {shlex.quote(str(bundle))}"
    require(report, command=command, consequence=f"do not serve {bundle} on this machine")
    if not as_json:
        process.echo_sentence(printable(f"{bundle}: {_summarise(report)}, {seconds:.1f} s"))


@app.command()
def sign(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    *,
    key: Annotated[
        Path,
        local_path_option("Private key, PEM: ECDSA on P-256, P-384 or P-521."),
    ],
    passphrase_file: Annotated[
        Path | None,
        local_path_option(
            "File with the passphrase of an encrypted key (default: "
            f"{PASSPHRASE_VARIABLE} of the environment, else a prompt)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Sign every file of a bundle: model.sig, in the format of OpenSSF model-signing."""
    from exporter.signing import sign_bundle

    made = sign_bundle(bundle, key, passphrase=read_passphrase(key, passphrase_file))
    if as_json:
        process.echo(process.compact_json(made.to_json()))
        return
    unlisted = f", {list_names(made.unlisted)} among them" if made.unlisted else ""
    process.log(
        f"{printable(made.model)} {made.version}: {len(made.files)} files signed on {made.curve}"
        f"{unlisted}\nnext: runtime verify {shlex.quote(str(bundle))} --key PUBLIC.pem"
    )
    process.echo(str(made.signature))


@app.command()
def package(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    *,
    to: Annotated[
        Kind,
        typer.Option(
            help="Platform: image, kserve, kubernetes, mlflow, oci, trainjob or triton.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        local_path_option(f"Folder to write (default: {DEFAULT_PACKAGES}/PLATFORM)."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            help="Image that kubernetes, kserve and trainjob run, pushed where they find it "
            "(default: NAME:VERSION of the model; trainjob needs one with torch)."
        ),
    ] = None,
    storage_uri: Annotated[
        str | None, typer.Option(help="Where kserve fetches the bundle's files from.")
    ] = None,
    base: Annotated[
        Path | None,
        local_path_option("Image that oci builds upon, an OCI image layout (default: none)."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="Table that trainjob trains on: its path in the claim, or a URI."),
    ] = None,
    claim: Annotated[
        str | None,
        typer.Option(help="PersistentVolumeClaim of trainjob: it has the data, and gets the run."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Pods of trainjob (default: 1).")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier package in --out, nothing else.")
    ] = False,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the files that a platform needs to serve a bundle, or to train its model again.

    Needs no torch and no platform.
    """
    from exporter.packaging.options import PackageOptions
    from exporter.packaging.package import list_files, next_step, package_bundle

    options = PackageOptions(image, storage_uri, base, claim, data, nodes)
    made = package_bundle(bundle, to, out or DEFAULT_PACKAGES / to, options, force=force, key=key)
    if as_json:
        process.echo(process.compact_json(made.to_json()))
        return
    process.log(
        f"{printable(made.model)} {made.version} for {to}: {list_files(made)}\n"
        f"next: {next_step(made, key)}"
    )
    process.echo(str(made.path))


def _unpublished(out: Path) -> str:
    from runtime.bundle.manifest import MANIFEST

    kept = f", and {out} is unchanged" if (out / MANIFEST).exists() else ""
    return f"nothing was published{kept}"


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


def _to_json(report: Report, bundle: Location | None, seconds: float) -> dict[str, object]:
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
        f"{report.undecidable:,} rows undecidable (two classes closer than the error "
        f"{_LIMIT[report.tolerance]}, so either is correct; "
        f"{report.undecidable_on_boundaries:,} more placed there on purpose)"
    )


def main() -> NoReturn:
    """Run the command line."""
    # Importing torch creates a million objects that live as long as the process: scanning them for
    # garbage takes a fifth of an export.
    gc.disable()
    process.run(app, "exporter")
