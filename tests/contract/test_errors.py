"""The documented error tree is the tree of the classes."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest

from runtime import errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_BRANCH = re.compile(r"^    (?P<indent>[ │├└─]*)(?P<name>\w+)  +(?P<code>\d+)  +\S", re.MULTILINE)


def _documented() -> dict[str, tuple[str, int]]:
    """Each name in the module docstring's tree with its parent and exit code."""
    found = {}
    path: list[str] = []
    for branch in _BRANCH.finditer(errors.__doc__ or ""):
        depth = len(branch["indent"]) // 4
        path[depth:] = [branch["name"]]
        found[branch["name"]] = (path[depth - 1] if depth else "Exception", int(branch["code"]))
    return found


def _subclasses(kind: type[errors.OnnxferryError]) -> Iterator[type[errors.OnnxferryError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _subclasses(child)


def test_tree_is_documented_with_parents_and_exit_codes() -> None:
    """The tree drawn in the module's docstring is the tree of the classes."""
    actual = {
        kind.__name__: (kind.__mro__[1].__name__, kind.exit_code)
        for kind in _subclasses(errors.OnnxferryError)
    }
    assert _documented() == actual


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.DataError, 3),
        (errors.SchemaError, 3),
        (errors.BadRowsError, 3),
        (errors.ArtifactError, 4),
        (errors.ParityError, 5),
        (errors.UnavailableError, 6),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_exit_codes_never_change(kind: type[errors.OnnxferryError], code: int) -> None:
    """Scripts depend on these numbers."""
    assert kind.exit_code == code


def test_errors_are_defined_in_one_module(checkout: Path) -> None:
    """No package grows a second error tree."""
    elsewhere = [
        f"{path.relative_to(checkout)}: {node.name}"
        for package in ("runtime", "trainer", "exporter")
        for path in sorted((checkout / package).rglob("*.py"))
        if path != checkout / "runtime" / "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(ast.unparse(base).endswith(("Error", "Exception")) for base in node.bases)
    ]
    assert elsewhere == []


# Run by a command alone: the command line, what starts a server, and commands that are printed.
_OF_COMMANDS = (
    "exporter/cli.py",
    "exporter/bundling.py",
    "exporter/packaging/",
    "exporter/parity/report.py",
    "exporter/source/factory.py",
    "runtime/cli/",
    "runtime/serving/grpc/server.py",
    "runtime/serving/listeners.py",
    "runtime/serving/startup.py",
    "runtime/serving/tls.py",
    "runtime/serving/workers/supervisor.py",
    "runtime/terminal/",
    "trainer/checkpoint/manager.py",
    "trainer/cli/",
)
_FOREIGN = frozenset(
    {"--data-binary", "--data-urlencode", "--nnodes", "--nproc-per-node"}
)  # of curl, of torchrun
_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def test_no_message_of_the_libraries_has_a_flag(checkout: Path) -> None:
    """Options are named through ``runtime.surfaces``, which spells them for whoever called."""
    found = []
    for package in ("runtime", "trainer", "exporter"):
        for path in sorted((checkout / package).rglob("*.py")):
            where = str(path.relative_to(checkout))
            if where.startswith(_OF_COMMANDS):
                continue
            tree = ast.parse(path.read_text(encoding="utf-8"))
            docstrings = {
                id(node.body[0].value)
                for node in ast.walk(tree)
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
                and node.body
                and isinstance(node.body[0], ast.Expr)
            }
            found += [
                f"{where}:{node.lineno}: {flag}"
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and id(node) not in docstrings
                for flag in _FLAG.findall(node.value)
                if flag not in _FOREIGN
            ]
    assert found == []
