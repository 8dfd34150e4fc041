"""Options that several commands share."""

# No annotations from the future: typer would evaluate each of them at every start.
from pathlib import Path
from typing import Annotated

import typer

from runtime.choices import Decimal
from runtime.terminal import process

DEFAULT_RUN = Path("artifacts/run")
DEFAULT_BUNDLE = Path("artifacts/bundle")

BundleArgument = Annotated[
    Path,
    # typer's own check of a path would give other messages and exit codes.
    typer.Argument(envvar="ONNXFERRY_BUNDLE", help="The bundle's folder.", readable=False),
]
DelimiterOption = Annotated[
    str | None, typer.Option(help="Between the fields of text (default: by the header).")
]
EncodingOption = Annotated[
    str | None, typer.Option(help="Of text (default: UTF-8, or what its first bytes say).")
]
DecimalOption = Annotated[Decimal, typer.Option(help="The sign before a number's fraction.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]


def new_app(name: str, purpose: str) -> typer.Typer:
    """Make an empty command line with ``--version``; plain text, quick to start."""
    app = typer.Typer(
        name=name,
        help=purpose,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(help=purpose)(_common_options)
    return app


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        process.echo(f"onnxferry {version('onnxferry')}")
        raise typer.Exit


def _common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options before the command."""


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split a list of column names; names with commas are quoted as in CSV."""
    if text is None:
        return None
    import csv

    return tuple(next(csv.reader([text]), []))
