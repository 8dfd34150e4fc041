"""Options and commands of ``runtime``."""

# No postponed annotations: typer would evaluate each at every start.
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runtime.choices import BadRows, EngineChoice, LogLevel, ProviderChoice
from runtime.errors import ParityError, UsageError
from runtime.io.paths import STANDARD_STREAM, Location
from runtime.terminal import process
from runtime.terminal.options import (
    DEFAULT_BUNDLE,
    BundleArgument,
    DecimalOption,
    DelimiterOption,
    EncodingOption,
    ForceOption,
    JsonOption,
    KeyOption,
    location_option,
    log_skipped,
    new_app,
    refuse_extra_arguments,
    split_names,
)

app = new_app("runtime", "Score and serve verified bundles, without torch.")


ProviderOption = Annotated[
    ProviderChoice,
    typer.Option(help="Execution provider: auto, cuda or cpu; auto takes CUDA when available."),
]
FileOption = Annotated[
    Location,
    location_option(
        "Table to score, a folder of tables or a glob pattern, also of s3://, gs:// or az://; "
        "- is standard input.",
    ),
]
OutOption = Annotated[
    Location | None,
    location_option("Output, a folder for several tables; - is standard output (default)."),
]


def _check_proba(value: str | None) -> str | None:
    """Refuse another option in the place of the value, which click would take."""
    if value is not None and value.startswith("--"):
        raise UsageError(f"--proba needs a value before {value}: all, positive or a class")
    return value


@app.command(context_settings={"allow_extra_args": True})
def predict(
    context: typer.Context,
    file: FileOption,
    bundle: Annotated[
        Location,
        location_option("The bundle's folder, a path or URI.", envvar="ONNXFERRY_BUNDLE"),
    ] = DEFAULT_BUNDLE,
    out: OutOption = None,
    provider: ProviderOption = "auto",
    bad_rows: Annotated[
        BadRows,
        typer.Option(
            help="Rows that cannot be scored: fail refuses the table, reject moves them to "
            "OUT.rejects.csv, null keeps them with empty predictions and a reason."
        ),
    ] = "fail",
    rejects: Annotated[
        Location | None,
        location_option("File for the rows of --bad-rows reject."),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Columns to write, separated by commas (default: all)."),
    ] = None,
    proba: Annotated[
        str | None,
        typer.Option(
            metavar="all|positive|CLASS",
            callback=_check_proba,
            help="Add the probability of classes: all, positive (the positive one of two, as in no "
            "and yes or 0 and 1), or the one of that name.",
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="Prefix of the new columns' names.")] = "",
    table_format: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="Format of the table: csv, tsv, jsonl, parquet, arrow; text also as csv.gz.",
        ),
    ] = None,
    out_format: Annotated[
        str | None,
        typer.Option(help="Format of the output (default: by its name, else as the table)."),
    ] = None,
    delimiter: DelimiterOption = None,
    encoding: EncodingOption = None,
    decimal: DecimalOption = ".",
    loose_header: Annotated[
        bool,
        typer.Option(
            "--loose-header", help="Match column names regardless of case, blanks and Unicode form."
        ),
    ] = False,
    truth: Annotated[
        str | None,
        typer.Option(help="Column with the true class, for accuracy and confusion matrix."),
    ] = None,
    drift: Annotated[
        Location | None,
        location_option("Write a report of the drift from the training rows, JSON."),
    ] = None,
    summary: Annotated[
        Location | None,
        location_option("Write the summary to a file, JSON."),
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Print the time of each stage.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Blocks scored in parallel (default: one per CPU)."),
    ] = None,
    force: ForceOption = False,
    no_overwrite: Annotated[
        bool,
        typer.Option(
            "--no-overwrite",
            help="Replace nothing: a file that exists, or is made meanwhile, stays.",
        ),
    ] = False,
    check: Annotated[
        bool,
        typer.Option(help="Verify the bundle's golden rows (stored with exact outputs) first."),
    ] = True,
    key: KeyOption = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(help="Score on a cluster: ray. A file, or the tables of a folder or pattern."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT",
            help="Of the engine's cluster; auto is this node's (default: start one here).",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes of the engine (default: as many as fit)."),
    ] = None,
    num_gpus: Annotated[
        float | None, typer.Option(help="GPUs for each of the engine's workers, such as 0.5.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue with what an interrupted run on an engine has completed."
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a table: write its columns unchanged, then label and probability."""
    from runtime.cli import predict as command
    from runtime.predictor import Predictor
    from runtime.scoring.options import Options
    from runtime.tables.formats import parse_format
    from runtime.tables.options import parse_read_options

    refuse_extra_arguments("file", file, context.args)
    options = Options(
        reading=parse_read_options(table_format, delimiter, encoding, decimal, loose=loose_header),
        out_format=parse_format(out_format) if out_format else None,
        bad_rows=bad_rows,
        columns=split_names(columns),
        proba=proba or False,
        prefix=prefix,
        rejects=rejects,
        truth=truth,
        drift=drift,
        force=force,
        no_overwrite=no_overwrite,
        threads=threads,
    )
    cluster = command.cluster_options(
        engine, address=address, workers=workers, num_gpus=num_gpus, resume=resume
    )
    if cluster:
        from runtime.engines.job import EngineJob

        out = out or STANDARD_STREAM
        job = EngineJob(bundle, file, out, options, cluster, provider, check, key)
        run = partial(command.score_on_ray, job)
    else:
        predictor = Predictor(bundle, provider=provider, check=check, key=key)
        wants_all = bool(out or as_json or truth or drift or rejects or summary or profile)
        if command.wants_preview(file, wants_all=wants_all):
            process.echo(command.preview(predictor, file, options))
            return
        out = out or STANDARD_STREAM
        run = partial(command.score_here, predictor, file, out, options)
    result = command.score(run, file, out, options, summary_path=summary, profile=profile)
    log_skipped(file)
    uses_stdout = STANDARD_STREAM in {out, drift}
    command.report(result, out, profile=profile, as_json=as_json, uses_stdout=uses_stdout)


@app.command()
def serve(
    bundle: Annotated[
        list[str] | None,
        typer.Option(help="Bundle to serve, NAME=DIR or DIR; may be repeated.", metavar="NAME=DIR"),
    ] = None,
    models: Annotated[
        Location | None,
        location_option(
            "Folder of bundles, served under the names of their folders; new ones are loaded "
            "by name, on SIGHUP, or with --watch.",
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(
            envvar="ONNXFERRY_HOST",
            help="Interface to listen on; 0.0.0.0 or [::] for all, or a Unix socket, unix:PATH.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            # Vertex AI's and SageMaker's, which choose the port of their containers.
            envvar=["AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT", "ONNXFERRY_PORT"],
            help="Port for HTTP; 0 for a free one (default: 8000).",
        ),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port for gRPC; 0 for a free one."),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(help="API keys that are accepted, one per line; reloaded when it changes."),
    ] = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="TLS certificate, PEM; reloaded when it changes.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of the TLS certificate, PEM.")
    ] = None,
    key: KeyOption = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin of web pages that may use the server, * for all; may be repeated.",
            metavar="ORIGIN",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=256, help="Worker processes, each with its own session.")
    ] = 1,
    provider: ProviderOption = "auto",
    watch: Annotated[
        bool, typer.Option("--watch", help="Reload a bundle when its folder is replaced.")
    ] = False,
    max_body: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum size of a request body in bytes (default: 16 MiB)."),
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option(min=1, help="Maximum number of rows per request (default: 262,144)."),
    ] = None,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of concurrent requests (default: 68).")
    ] = None,
    max_connections: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of open connections (default: 1,024).")
    ] = None,
    header_timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Timeout for receiving a header, seconds (default: 10)."),
    ] = None,
    body_timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Timeout for receiving a body, seconds (default: 30)."),
    ] = None,
    idle_timeout: Annotated[
        float | None, typer.Option(min=0, help="Keep-alive timeout, seconds (default: 75).")
    ] = None,
    drain_timeout: Annotated[
        float | None,
        typer.Option(
            min=0, help="Timeout for graceful shutdown after SIGTERM, seconds (default: 30)."
        ),
    ] = None,
    log_level: Annotated[
        LogLevel, typer.Option(help="Log level; debug logs each request.")
    ] = "info",
) -> None:
    """Serve bundles over HTTP and gRPC with the Open Inference Protocol v2."""
    from runtime.cli import serve as command
    from runtime.serving.cors import parse_origins
    from runtime.serving.listeners import parse_address
    from runtime.serving.settings import Settings

    limits = command.choose_limits(
        body_bytes=max_body,
        rows=max_rows,
        in_flight=max_in_flight,
        connections=max_connections,
        header_s=header_timeout,
        body_s=body_timeout,
        idle_s=idle_timeout,
        drain_s=drain_timeout,
    )
    found = command.find_bundles(bundle or [], models, key)
    settings = Settings(
        *parse_address(host, port),
        provider,
        limits,
        models=models,
        watches=watch,
        level=log_level,
        grpc_port=grpc_port,
        key_file=api_key_file,
        workers=workers,
        origins=parse_origins(cors_origin or ()),
        certificate=command.choose_certificate(tls_cert, tls_key),
        signer=key,
    )
    command.run_until_signal(found, settings)


@app.command()
def verify(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    provider: ProviderOption = "auto",
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a bundle's digests, with --key its signature, and on this machine its golden rows.

    Golden rows are stored with exact outputs.
    """
    from runtime.predictor import Predictor
    from runtime.printable import printable
    from runtime.terminal.manifest import SIGNATURES

    try:
        predictor = Predictor(bundle, provider=provider, key=key)
    except ParityError:
        if as_json:
            process.echo(process.compact_json({"passed": False, "bundle": str(bundle)}))
        raise
    manifest, check = predictor.manifest, predictor.check
    if as_json:
        process.echo(
            process.compact_json(
                {
                    "passed": True,
                    "bundle": str(bundle),
                    "version": manifest.model.version,
                    "provider": predictor.provider,
                    "files": len(manifest.files),
                    "worst_error_over_bound": check.worst_error_over_bound if check else None,
                    "undecidable": check.undecidable if check else None,
                    "signature": predictor.signature,
                }
            )
        )
    else:
        text = (
            f"{bundle}: {manifest.model.name} {manifest.model.version} verified; "
            f"{len(manifest.files)} files intact, golden rows (stored with exact outputs) within "
            f"their error bounds on {predictor.provider} ({predictor.session.reason})"
            f"{SIGNATURES[predictor.signature]}"
        )
        process.echo_sentence(printable(text))


@app.command()
def inspect(
    bundle: BundleArgument = DEFAULT_BUNDLE,
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a bundle's manifest; verifies digests, does not run the model."""
    from runtime.bundle.reading import read_bundle
    from runtime.terminal.manifest import format_manifest
    from runtime.wrapping import terminal_width

    found = read_bundle(bundle, key)
    manifest = found.manifest
    if as_json:
        process.echo(process.indented_json(manifest.to_json()))
    else:
        width = terminal_width(sys.stdout) if sys.stdout.isatty() else None
        process.echo(format_manifest(manifest, width, found.signature_state))


def main() -> NoReturn:
    """Run the command line."""
    # numpy's BLAS threads would spin while idle: a fifth of a short run.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    process.run(app, "runtime")
