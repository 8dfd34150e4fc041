"""Reload bundles when their folders change, and load new ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from runtime.errors import OnnxferryError
from runtime.io.watching import folder_state, poll_interval
from runtime.serving.detached import run_detached

if TYPE_CHECKING:
    from collections.abc import Callable

    from runtime.io.watching import FolderState
    from runtime.serving.models.repository import ModelSlot, Repository


class FolderWatcher:
    """Watches the folders of a repository.

    A failed load is repeated at the next change, so a slowly copied bundle is loaded once complete;
    one that failed because its store could not be reached, at the next turn.
    """

    def __init__(self, repository: Repository, report: Callable[[str], None]) -> None:
        """Watch; ``report`` gets why a store cannot be watched, an empty text when it can again."""
        self._repository, self._report = repository, report
        self._known: dict[str, FolderState] = {}
        self._is_blind = False

    async def run(self) -> None:
        """Watch until cancelled."""
        # At once, without waiting: what changes while the first requests are served is a change.
        for name, slot in self._repository.slots.items():
            if isinstance(slot.path, Path):
                self._known[name] = folder_state(slot.path)
        for name, slot in list(self._repository.slots.items()):
            if not isinstance(slot.path, Path):
                await self._note(name, slot)
        while True:
            slots = self._repository.slots.values()
            paths = [self._repository.folder, *(slot.path for slot in slots)]
            await asyncio.sleep(poll_interval(paths))
            problem = await self._look()
            if bool(problem) != self._is_blind:
                self._is_blind = bool(problem)
                self._report(problem)

    async def _note(self, name: str, slot: ModelSlot) -> None:
        """Note the state of a bundle in a store; without it, the bundle is loaded once more."""
        try:
            self._known[name] = await run_detached(folder_state, slot.path)
        except OnnxferryError:
            return

    async def _look(self) -> str:
        """Load what has changed; return why a store did not tell, or an empty text."""
        problems = []
        try:
            await self._repository.rediscover()
        except OnnxferryError as exc:
            problems.append(str(exc))
        for name, slot in list(self._repository.slots.items()):
            try:
                state = await run_detached(folder_state, slot.path)
            except OnnxferryError as exc:
                problems.append(str(exc))
                continue
            if state != self._known.get(name) and await self._repository.reload_one(name):
                self._known[name] = state
        return next(iter(problems), "")
