"""Results of fits in a file, a JSON object a line, so that hours of fitting can be interrupted.

A result is found again while what made it is the same: the table, the peers' versions and settings,
or our own sources. Comments and formatting do not count.
"""

from __future__ import annotations

import ast
import hashlib
import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# What decides which weights a user gets, and how a table is read.
OUR_SOURCES = ("trainer", "runtime/schema", "runtime/tables", "runtime/encoding.py")


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


class Cache:
    """Results by key; each is appended to the file as soon as it is there.

    A failure is known to the one who made it alone: it is tried again by the next.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._results: dict[Key, Result] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                entry = json.loads(line)
                self._results[Key(**entry["key"])] = Result(**entry["result"])

    def find(self, key: Key) -> Result | None:
        """Find a result; None where the fit has not been made."""
        return self._results.get(key)

    def add(self, key: Key, result: Result) -> None:
        """Keep a result."""
        self._results[key] = result
        if not result.error:
            line = json.dumps({"key": asdict(key), "result": asdict(result)})
            with self._lock, self._path.open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")


def identity_of(*sources: str) -> str:
    """Digest files and folders of Python, by their meaning, and other files by their bytes.

    Args:
        *sources: paths below the root of the repository.

    Returns:
        The first 16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for source in sources:
        path = ROOT / source
        for each in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content = each.read_text(encoding="utf-8")
            meaning = ast.dump(ast.parse(content)) if each.suffix == ".py" else content
            digest.update(meaning.encode())
    return digest.hexdigest()[:16]
