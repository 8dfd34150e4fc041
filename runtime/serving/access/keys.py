"""The keys of a server, kept in a file that may be changed while it runs.

One key a line; blank lines and lines that begin with ``#`` count for nothing. A new key is
written to the file, clients move to it, the old one is taken out: no restart. A file that can no
longer be read, or holds no key, changes nothing; that is told once. Raises ``UsageError``.
"""

from __future__ import annotations

import hmac
import os
import time
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_LOOK_S: Final = 0.5  # how old what is known of the file may be
_LEAST: Final = 16  # characters of a key; fewer can be guessed
_MOST_BYTES: Final = 1 << 20

State = tuple[int, int, int]


class Keys:
    """Knows which keys are right."""

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        """Read the file.

        Args:
            path: of the file.
            report: told why a changed file was not taken.

        Raises:
            UsageError: when it cannot be read, holds no key, or one that is too short.
        """
        self._path, self._report = path, report
        self._state = _look(path)
        self._digests = _read(path)
        self._next_look = time.monotonic() + _LOOK_S

    def accept(self, key: bytes) -> bool:
        """Tell whether a key is right; the time that takes says nothing about the keys.

        Args:
            key: as sent.

        Returns:
            Whether it stands in the file.
        """
        if time.monotonic() >= self._next_look:
            self._refresh()
        digest = sha256(key).digest()
        right = False
        for known in self._digests:  # all of them, whichever is right
            right |= hmac.compare_digest(known, digest)
        return right

    def _refresh(self) -> None:
        self._next_look = time.monotonic() + _LOOK_S
        state = _look(self._path)
        if state == self._state:
            return
        self._state = state
        try:
            self._digests = _read(self._path)
        except UsageError as exc:
            self._report(f"{exc}; the keys from before are still right")


def _look(path: Path) -> State | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - half a microsecond less
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> tuple[bytes, ...]:
    where = f"--api-key-file {path}"
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES)
    except OSError as exc:
        raise UsageError(f"{where} cannot be read: {exc.strerror}") from exc
    lines = [line.strip() for line in content.splitlines()]
    keys = [line for line in lines if line and not line.startswith(b"#")]
    if not keys:
        raise UsageError(
            f"{where} holds no key; write one a line, for example of: openssl rand -hex 32"
        )
    if any(len(key) < _LEAST for key in keys):  # which one, and how it begins, is nobody's business
        raise UsageError(f"{where} holds a key of fewer than {_LEAST} characters; make it longer")
    return tuple(sha256(key).digest() for key in keys)
