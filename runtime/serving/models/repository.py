"""The model repository: named bundles, their load state, and reload on change.

A bundle is opened and verified in a thread while others are served, then replaces the previous
version in one assignment: requests in flight keep theirs. A failed load changes only the reason.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final

from runtime.errors import OnnxferryError, RequestError, UnknownNameError
from runtime.printable import list_names
from runtime.serving.models.served import ServedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from runtime.choices import ProviderChoice
    from runtime.serving.settings import Limits

UNLOADED: Final = "unloaded"  # the reason that is shown
_POLL_S: Final = 1.0

FolderState = frozenset[tuple[str, int, int, int]]


class ModelSlot:
    """A name, its bundle's folder, and the model served under it.

    Attributes:
        path: the bundle's folder.
        model: None while none is loaded.
        reason: why the last load failed or no model is served; empty otherwise.
        stale: the last load failed.
        failures: failed loads.
        loads: successful loads.
    """

    def __init__(self, path: Path) -> None:
        """Begin without a model."""
        self.path = path
        self.model: ServedModel | None = None
        self.reason = ""
        self.failures = self.loads = 0
        self.stale = False

    @property
    def is_unloaded(self) -> bool:
        """Whether a client unloaded it; it stays so until a client loads it."""
        return self.reason == UNLOADED


class Repository:
    """All bundles of a server.

    Attributes:
        slots: by name.
    """

    def __init__(
        self,
        bundles: Mapping[str, Path],
        provider: ProviderChoice,
        limits: Limits,
        report: Callable[[str, ModelSlot], None],
    ) -> None:
        """Take folders by name; ``report`` is called after each load, successful or not."""
        self.slots = {name: ModelSlot(path) for name, path in bundles.items()}
        self._provider, self._limits, self._report = provider, limits, report
        self._loading: dict[str, asyncio.Lock] = {}

    def open_all(self) -> None:
        """Open every bundle, before the server listens; raises ``OnnxferryError``."""
        for name, slot in self.slots.items():
            slot.model = self._open(name, slot)
            slot.loads += 1

    def find(self, name: str, version: str | None = None) -> ServedModel:
        """Return a loaded model; raises ``UnknownNameError``. Without ``version``, any."""
        model = self._slot(name).model
        if model is None:
            raise UnknownNameError(
                f"model {name!r} is not loaded; POST /v2/repository/models/{name}/load"
            )
        if version is not None and version != model.version:
            raise UnknownNameError(f"model {name!r} is served in version {model.version} only")
        return model

    def only(self) -> str:
        """Return the name of the only bundle; raises ``UnknownNameError`` if there are several."""
        if len(self.slots) != 1:
            raise UnknownNameError(
                f"which model? add ?model=NAME; there are {list_names(self.slots)}"
            )
        return next(iter(self.slots))

    def models(self) -> Iterator[ServedModel]:
        """Iterate over the loaded models."""
        return (slot.model for slot in self.slots.values() if slot.model)

    async def load(self, name: str) -> None:
        """Open a bundle and replace the model once verified.

        Raises ``UnknownNameError``, or ``RequestError`` when the bundle cannot be opened.
        """
        slot = self._slot(name)
        async with self._loading.setdefault(name, asyncio.Lock()):
            try:
                model = await asyncio.to_thread(self._open, name, slot)
            except OnnxferryError as exc:
                slot.failures += 1
                slot.reason, slot.stale = str(exc), True
                self._report(name, slot)
                served = f"version {slot.model.version} is still served" if slot.model else ""
                raise RequestError(f"{exc}; {served or 'none is served'}") from exc
            slot.model, slot.reason, slot.stale = model, "", False
            slot.loads += 1
            self._report(name, slot)

    async def reload(self) -> None:
        """Reload every bundle that was not unloaded."""
        await self.reload_each(self.slots)

    async def reload_each(self, names: Iterable[str]) -> None:
        """Reload bundles that were not unloaded; failures are reported."""
        for name in names:
            if not self.slots[name].is_unloaded:
                try:
                    await self.load(name)
                except RequestError:
                    continue  # see the log, the metrics and the readiness

    def unload(self, name: str) -> None:
        """Stop serving a model after its requests in flight; raises ``UnknownNameError``."""
        slot = self._slot(name)
        slot.model, slot.reason, slot.stale = None, UNLOADED, False

    def index(self) -> list[dict[str, str]]:
        """Return the repository index of the model repository extension."""
        return [
            {
                "name": name,
                "version": slot.model.version if slot.model else "",
                "state": "READY" if slot.model else "UNAVAILABLE",
                "reason": slot.reason,
            }
            for name, slot in self.slots.items()
        ]

    def _slot(self, name: str) -> ModelSlot:
        slot = self.slots.get(name)
        if slot is None:
            raise UnknownNameError(f"no model {name!r}; there are {list_names(self.slots)}")
        return slot

    def _open(self, name: str, slot: ModelSlot) -> ServedModel:
        return ServedModel.open(name, slot.path, self._provider, self._limits, slot.model)


async def watch_folders(repository: Repository) -> None:
    """Reload bundles whose folders change, until cancelled.

    A failed load is retried at the next change, so a slowly copied bundle is loaded once complete.
    """
    known = {name: folder_state(slot.path) for name, slot in repository.slots.items()}
    while True:
        await asyncio.sleep(_POLL_S)
        for name, slot in repository.slots.items():
            state = folder_state(slot.path)
            if state == known[name]:
                continue
            known[name] = state
            await repository.reload_each([name])


def folder_state(folder: Path) -> FolderState:
    """Return names, sizes, change times and inodes of a folder's files; empty without a folder."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return frozenset()
    return frozenset((name, at.st_size, at.st_ctime_ns, at.st_ino) for name, at in found)
