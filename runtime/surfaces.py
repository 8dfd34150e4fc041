"""How messages name options: flags on the command line, parameters in Python, queries over HTTP.

The same table fails in all of these places. The code that refuses it names the option and its
value; they are spelled for whoever called: ``--bad-rows null``, ``bad_rows="null"``,
``?bad_rows=null``, ``params={"bad_rows": "null"}`` for a model of MLflow, or plain words on the web
page.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, Literal

from runtime.printable import quote_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    OptionValue = str | int | float | bool | list[str] | tuple[str, ...] | None

Surface = Literal["python", "command", "http", "page", "mlflow"]

_HEADER: Final = "Content-Type"  # of a request: format and encoding of its body
_PARAMETERS: Final = {
    "file": "source",
    "passphrase_file": "passphrase",
    "restart": "replace",
}  # that have another name in Python
_QUERIES: Final = {"bad_rows", "proba", "prefix", "delimiter", "decimal", "loose_header"}
_BY_MLFLOW: Final = {"bad_rows": "params", "proba": "params", "key": "model_config"}
_IN_FRAMES: Final = {"decimal": "convert them to numbers first"}  # what MLflow gets are frames
_MEDIA_TYPES: Final = {
    "csv": "text/csv",
    "jsonl": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
# How the user of the page does what an option does; it has few.
_ON_PAGE: Final = {
    "decimal": "choose the other decimal sign under Options",
    "delimiter": "choose the delimiter under Options",
    "encoding": "save the table as UTF-8",
    "format": "give the file the extension of its format",
    "prefix": "give a prefix under Options",
}

# Of the process: threads that score a file have contexts of their own.
_process: Surface = "python"
_request: ContextVar[Surface | None] = ContextVar("surface of the request", default=None)


def current_surface() -> Surface:
    """Return where messages are read now."""
    return _request.get() or _process


@contextmanager
def command_surface() -> Iterator[None]:
    """Spell options as flags in the whole process, apart from requests."""
    global _process  # noqa: PLW0603 - one command line a process
    before, _process = _process, "command"
    try:
        yield
    finally:
        _process = before


@contextmanager
def request_surface(surface: Literal["http", "page", "mlflow"]) -> Iterator[None]:
    """Spell options for the client of a request or of an MLflow model, in this context."""
    token = _request.set(surface)
    try:
        yield
    finally:
        _request.reset(token)


def option(name: str, value: OptionValue = None, *, blank: str = "") -> str:
    """Name an option as the reader gives it.

    Args:
        name: of the parameter, with underscores.
        value: to give; None for the option alone, True for a flag.
        blank: stands for a value, such as ``FILE``.

    Returns:
        On the command line ``--name value``, quoted for a shell; in Python ``name="value"``; over
        HTTP ``?name=value`` or the header field; for MLflow an entry of the argument that passes it
        on; on the page, and where there is no such option, its name in plain words.
    """
    surface = current_surface()
    if surface == "command":
        return _flag(name, value, blank)
    if surface == "python":
        return _parameter(name, (blank or None) if value is None else value)
    if surface == "http":
        return _query(name, value, blank)
    if surface == "mlflow" and name in _BY_MLFLOW:
        return _argument(name, (blank or None) if value is None else value)
    return f"the {name.replace('_', ' ')}"


def advise(name: str, value: OptionValue = None, *, blank: str = "", phrase: str = "") -> str:
    """Advise to give an option; empty where the reader can neither give it nor do it otherwise.

    Args:
        name: of the parameter, with underscores.
        value: to give.
        blank: stands for a value, such as ``TEXT``.
        phrase: with ``{}`` for the option, rather than "give" or, for a header field, "send".

    Returns:
        A phrase in the imperative.
    """
    surface = current_surface()
    if surface == "page":
        return _ON_PAGE.get(name, "")
    if surface == "mlflow" and name not in _BY_MLFLOW:
        return _IN_FRAMES.get(name, "")
    if surface == "http" and name not in _QUERIES | {"encoding", "format"}:
        return ""
    spelled = option(name, value, blank=blank)
    verb = "send" if spelled.startswith(_HEADER) else "give"
    return (phrase or f"{verb} {{}}").format(spelled)


def advise_encoding() -> str:
    """Advise to give the encoding of text that is not in the one it was read as."""
    return advise("encoding", "cp1252", phrase="give its encoding, such as {}")


def advise_loosely(difference: str = "case and blanks") -> str:
    """Advise to ignore differences of column names."""
    return advise("loose_header", True, phrase=f"ignore {difference} with {{}}")


def either(*ways: str) -> str:
    """Join the ways out of a problem, without those that are empty."""
    *others, last = filter(None, ways)
    return f"{', '.join(others)}, or {last}" if others else last


def together(*options: str) -> str:
    """Join options that are given together."""
    return (" " if current_surface() == "command" else ", ").join(options)


def server_option(name: str) -> str:
    """Name an option of the server in a response: the client's user may not be who started it."""
    return f"the server's option {name.replace('_', '-')}"


def _flag(name: str, value: OptionValue, blank: str) -> str:
    import shlex

    flag = f"--{name.replace('_', '-')}"
    if blank or value is None or value is True:
        return f"{flag} {blank}" if blank else flag
    if isinstance(value, list | tuple):
        return f"{flag} {quote_names(value)}"
    return f"{flag} " + ("tab" if value == "\t" else shlex.quote(str(value)))


def _parameter(name: str, value: OptionValue) -> str:
    name = _PARAMETERS.get(name, name)
    if value is None:
        return name
    if isinstance(value, str | list | tuple):
        import json

        return f"{name}={json.dumps(value, ensure_ascii=False)}"
    return f"{name}={value!r}"


def _argument(name: str, value: OptionValue) -> str:
    """Name an entry of a dictionary that MLflow passes on."""
    if value is None:
        return name
    import json

    return f"{_BY_MLFLOW[name]}={{{json.dumps(name)}: {json.dumps(value)}}}"


def _query(name: str, value: OptionValue, blank: str) -> str:
    from urllib.parse import quote

    if name == "encoding":
        return f"{_HEADER}: text/csv" + (f"; charset={value}" if value else "")
    if name == "format":
        return f"{_HEADER}: {_MEDIA_TYPES.get(str(value), 'text/csv')}"
    if name not in _QUERIES:
        return name
    text = "true" if value is True else "" if value is None else quote(str(value), safe=",;|")
    return f"?{name}={blank or text}" if blank or text else f"?{name}"
