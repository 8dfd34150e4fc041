"""Options that several commands share."""

# No postponed annotations: typer would evaluate each at every start.
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.choices import Decimal
from runtime.errors import UsageError
from runtime.io.paths import Location, parse_local_path, parse_location
from runtime.surfaces import command_surface, option
from runtime.terminal import process

DEFAULT_RUN = Path("artifacts/run")
DEFAULT_BUNDLE = Path("artifacts/bundle")


def location_option(
    text: str, *, envvar: str | None = None, show_default: bool | str = True
) -> Any:  # noqa: ANN401 - typer's
    """Describe an option that takes a path or the URI of a store; whoever opens it checks it."""
    return typer.Option(
        help=text,
        parser=parse_location,
        metavar="PATH",
        envvar=envvar,
        show_default=show_default,
    )


def local_path_option(text: str) -> Any:  # noqa: ANN401 - typer's
    """Describe an option that takes a local path alone."""
    return typer.Option(help=text, parser=parse_local_path, metavar="PATH")


BundleArgument = Annotated[
    Location,
    typer.Argument(
        envvar="ONNXFERRY_BUNDLE", help="The bundle's folder, a path or URI.", parser=parse_location
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option(
        "--key",
        envvar="ONNXFERRY_KEY",
        help="Public key, PEM, that must have signed the bundle (default: signatures are not "
        "verified).",
        parser=parse_local_path,
        metavar="PATH",
    ),
]
DelimiterOption = Annotated[
    str | None, typer.Option(help="Delimiter of delimited text (default: detected by the header).")
]
EncodingOption = Annotated[
    str | None, typer.Option(help="Encoding of text (default: by its byte order mark, else UTF-8).")
]
DecimalOption = Annotated[Decimal, typer.Option(help="Decimal sign of numbers in text.")]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace files that are not outputs of the same kind.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]


def new_app(name: str, description: str) -> typer.Typer:
    """Create a typer app with ``--version`` and plain-text help, which starts fast."""
    app = typer.Typer(
        name=name,
        help=description,
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback(help=description)(_common_options)
    return app


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        process.echo(f"onnxferry {version('onnxferry')}")
        raise typer.Exit


def _common_options(
    context: typer.Context,
    version: Annotated[  # noqa: ARG001 - printed by its callback
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options before the command, whose messages name options as flags."""
    context.with_resource(command_surface())


def log_skipped(source: Location) -> None:
    """Name the lists of rejected rows of a folder or pattern, and count what is hidden in it."""
    from runtime.io.discovery import find_skipped
    from runtime.io.paths import is_folder_or_pattern
    from runtime.printable import list_first, printable

    if not is_folder_or_pattern(source):
        return
    skipped = find_skipped(source)
    if skipped.rejects:
        names = list_first([printable(str(path)) for path in skipped.rejects])
        process.log(f"skipped, as a list of rejected rows: {names}")
    if skipped.hidden:
        files = "1 file" if skipped.hidden == 1 else f"{skipped.hidden:,} files"
        process.log(f"skipped, as a name in their paths begins with _ or a point: {files}")


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split a list of column names; names with commas are quoted as in CSV."""
    if text is None:
        return None
    import csv

    return tuple(next(csv.reader([text]), []))


def refuse_extra_arguments(name: str, path: Location | None, arguments: list[str]) -> None:
    """Refuse positional arguments, which a shell makes of a pattern that is not quoted."""
    if not arguments:
        return
    advice = ""
    if isinstance(path, Path) and (len(arguments) > 1 or path.suffix == Path(arguments[0]).suffix):
        folders = {path.parent, *(Path(argument).parent for argument in arguments)}
        one_level = len(folders) == 1 or len({folder.is_absolute() for folder in folders}) > 1
        names = f"*{path.suffix}"
        common = path.parent if one_level else Path(os.path.commonpath(folders), "**")
        pattern = common / names
        advice = f"; quote a pattern: {option(name, str(pattern))}"
    raise UsageError(f"unexpected argument {arguments[0]}{advice}")
