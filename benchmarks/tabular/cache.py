"""Results of fits in a file, one a line, so that hours of fitting can be interrupted.

A result is found again while what made it is the same: the table, the peers' versions and settings,
or our own sources. Comments and formatting do not count. The peers' fits, many hours, come with the
repository: a line of them is made again once it is deleted.
"""

from __future__ import annotations

import ast
import csv
import hashlib
import threading
from dataclasses import astuple, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What decides which weights a user gets, and how a table is read.
OUR_SOURCES = ("trainer", "runtime/schema", "runtime/tables", "runtime/encoding.py")
SCORED_BY = "benchmarks/tabular/worker.py"
OF_PEERS = HERE.parent / "results" / "public_tables_peers.csv"


@dataclass(frozen=True)
class Key:
    """What a result is of; ``identity`` is a digest of what made it."""

    table: str
    seed: int
    contender: str
    identity: str


@dataclass(frozen=True)
class Result:
    """What a fit came to; NaN in all numbers where ``error`` says why it failed."""

    accuracy: float = float("nan")
    log_loss: float = float("nan")
    refused: int = 0
    wall: float = float("nan")
    cpu: float = float("nan")
    error: str = ""


_NUMBERS = ("accuracy", "log_loss", "refused", "wall", "cpu")
_COLUMNS = (*(field.name for field in fields(Key)), *_NUMBERS)


class Cache:
    """Results by key; each is appended to a file as soon as it is there.

    A failure is known to the one who made it alone: it is tried again by the next.
    """

    def __init__(self, path: Path, peers: Path | None = None, names: Collection[str] = ()) -> None:
        """Read the results; those of ``names`` are kept in ``peers``, all others in ``path``."""
        self._path, self._peers, self._names = path, peers, names
        self._lock = threading.Lock()
        self._results: dict[Key, Result] = {}
        for each in filter(None, (path, peers)):
            if each.exists():
                self._results |= dict(_read(each))

    def find(self, key: Key) -> Result | None:
        """Find a result; None where the fit has not been made."""
        return self._results.get(key)

    def add(self, key: Key, result: Result) -> None:
        """Keep a result."""
        self._results[key] = result
        path = self._peers if self._peers and key.contender in self._names else self._path
        if not result.error:
            with self._lock:
                _append(path, key, result)


def _read(path: Path) -> Iterator[tuple[Key, Result]]:
    with path.open(newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            key = Key(row["table"], int(row["seed"]), row["contender"], row["identity"])
            accuracy, log_loss, refused, wall, cpu = (float(row[name]) for name in _NUMBERS)
            yield key, Result(accuracy, log_loss, int(refused), wall, cpu)


def _append(path: Path, key: Key, result: Result) -> None:
    is_new = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if is_new:
            writer.writerow(_COLUMNS)
        writer.writerow([*astuple(key), *(getattr(result, name) for name in _NUMBERS)])


def identity_of(*sources: str) -> str:
    """Digest files and folders of Python, by their meaning, and other files by their bytes.

    Args:
        *sources: paths below the root of the repository.

    Returns:
        The first 16 hexadecimal digits.
    """
    texts = []
    for source in sources:
        path = ROOT / source
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = each.read_text(encoding="utf-8")
            texts.append(repr(_meaning(ast.parse(content))) if each.suffix == ".py" else content)
    return digest(*texts)


def identity_of_ours(*programs: str) -> str:
    """Digest what decides the results of programs that fit with the trainer."""
    sources = identity_of(*programs, SCORED_BY, *OUR_SOURCES)
    return digest(sources, version("torch"), version("numpy"))


def _meaning(node: object) -> object:
    """Say what a syntax tree means, in the same words in every version of Python from 3.11 on.

    Unlike ``ast.dump`` and ``ast.unparse``: fields that are empty, which newer ones add, are left
    out, and so are empty parts of f-strings.
    """
    if isinstance(node, list):
        return [_meaning(each) for each in node if getattr(each, "value", None) != ""]
    if not isinstance(node, ast.AST):
        return repr(node)
    present = ((name, each) for name, each in ast.iter_fields(node) if each is not None)
    return type(node).__name__, [(name, _meaning(each)) for name, each in present if each != []]


def digest(*texts: str) -> str:
    """Digest texts: the first 16 hexadecimal digits."""
    return hashlib.sha256("".join(texts).encode()).hexdigest()[:16]
