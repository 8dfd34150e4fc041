"""Options of a command from a TOML file: ``--config run.toml``, flags before it, defaults after.

    epochs = 50
    hidden = [64, 64]
    learning-rate = 0.05

In: the file. Out: what the command takes in place of its defaults. Keys are the command's long
options. Raises ``UsageError`` that names the file, the key and, for one that is unknown, the
nearest.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path  # noqa: TC003 - typer evaluates the annotations of a callback

import typer

from runtime.errors import UsageError
from trainer.table.columns import join_names

_NOT_FROM_FILE = frozenset({"config", "help", "json"})


def take_defaults(context: typer.Context, path: Path | None) -> Path | None:
    """Let a file's values stand where the command line gives none.

    Args:
        context: of the command.
        path: the file; None changes nothing.

    Returns:
        The path.

    Raises:
        UsageError: when the file cannot be read, or a key or value is not the command's.
    """
    if path is None:
        return None
    known = {
        option.removeprefix("--"): parameter
        for parameter in context.command.params
        for option in parameter.opts
        if option.startswith("--") and option.removeprefix("--") not in _NOT_FROM_FILE
    }
    defaults: dict[str, object] = {}
    for key, value in _read(path).items():
        name = key.replace("_", "-")
        if name not in known:
            raise UsageError(f"{path}: there is no option {key!r}{_nearest(name, list(known))}")
        option, text = known[name], _as_text(value, f"{path}: {name}")
        try:
            option.type.convert(text, option, context)
        except typer.BadParameter as exc:
            raise UsageError(f"{path}: {name}: {exc.message}") from exc
        defaults[option.name or name] = text
    context.default_map = defaults
    return path


def _read(path: Path) -> dict[str, object]:
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as exc:
        raise UsageError(f"cannot read {path}: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise UsageError(f"{path} is no TOML: {exc}") from exc


def _as_text(value: object, where: str) -> str:
    """Write a value as it would be typed; a list is joined by commas, with quotes as in CSV."""
    parts = value if isinstance(value, list) else [value]
    if any(isinstance(part, dict | list) for part in parts):
        raise UsageError(f"{where} must be one value or a list of values")
    return join_names([str(part) for part in value]) if isinstance(value, list) else str(value)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"
