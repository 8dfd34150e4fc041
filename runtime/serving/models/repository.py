"""Named bundles: which are served, in which version, and why one is not.

A bundle is opened and proven in a thread while the others answer, then takes its place in one
assignment: requests that have begun keep the version they began with. A bundle that cannot be
opened changes nothing but the reason that is shown. Raises ``UnknownNameError`` for a name that
is not there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from runtime.errors import OnnxferryError, RequestError, UnknownNameError
from runtime.serving.models.served import ServedModel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from runtime.choices import ProviderChoice
    from runtime.serving.limits import Limits


UNLOADED: Final = "unloaded"  # the reason that is shown


class Slot:
    """A name, the folder it stands for, and the model that is served under it.

    Attributes:
        path: the bundle's folder.
        model: None while none is loaded.
        reason: why the last load failed, or none is served; empty when all is well.
        stale: the last load failed.
        failures: loads that failed.
        loads: that did not.
    """

    def __init__(self, path: Path) -> None:
        """Begin without a model.

        Args:
            path: the bundle's folder.
        """
        self.path = path
        self.model: ServedModel | None = None
        self.reason = ""
        self.failures = self.loads = 0
        self.stale = False

    @property
    def is_unloaded(self) -> bool:
        """Whether somebody unloaded it; then it stays so until somebody loads it."""
        return self.reason == UNLOADED


class Repository:
    """All bundles of a server."""

    def __init__(
        self,
        bundles: Mapping[str, Path],
        provider: ProviderChoice,
        limits: Limits,
        report: Callable[[str, Slot], None],
    ) -> None:
        """Begin with nothing loaded.

        Args:
            bundles: folders by the name that they are served under.
            provider: what runs the models.
            limits: of the server.
            report: told of each load, well or badly ended.
        """
        self.slots = {name: Slot(path) for name, path in bundles.items()}
        self._provider, self._limits, self._report = provider, limits, report
        self._loading: dict[str, asyncio.Lock] = {}

    def open_all(self) -> None:
        """Open every bundle before the server listens.

        Raises:
            OnnxferryError: when one cannot be opened.
        """
        for name, slot in self.slots.items():
            slot.model = self._open(name, slot)
            slot.loads += 1

    def find(self, name: str, version: str | None = None) -> ServedModel:
        """Find a model that is ready.

        Args:
            name: under which it is served.
            version: that is asked for; None for the one there is.

        Returns:
            The model.

        Raises:
            UnknownNameError: when there is no such model or version.
        """
        model = self._slot(name).model
        if model is None:
            raise UnknownNameError(
                f"model {name!r} is not loaded; POST /v2/repository/models/{name}/load"
            )
        if version is not None and version != model.version:
            raise UnknownNameError(f"model {name!r} is served in version {model.version} alone")
        return model

    def only(self) -> str:
        """Name the only bundle there is.

        Returns:
            Its name.

        Raises:
            UnknownNameError: when there are several.
        """
        if len(self.slots) != 1:
            raise UnknownNameError(
                f"which model? add ?model=NAME; there are {', '.join(map(repr, self.slots))}"
            )
        return next(iter(self.slots))

    def models(self) -> Iterator[ServedModel]:
        """Give the models that are ready."""
        return (slot.model for slot in self.slots.values() if slot.model)

    async def load(self, name: str) -> None:
        """Open a bundle anew; the model that is served goes on until the new one is proven.

        Args:
            name: under which it is served.

        Raises:
            UnknownNameError: when no bundle has that name.
            RequestError: when the bundle cannot be opened; says what is served now.
        """
        slot = self._slot(name)
        async with self._loading.setdefault(name, asyncio.Lock()):
            try:
                model = await asyncio.to_thread(self._open, name, slot)
            except OnnxferryError as exc:
                slot.failures += 1
                slot.reason, slot.stale = str(exc), True
                self._report(name, slot)
                still = f"version {slot.model.version} is still served" if slot.model else ""
                raise RequestError(f"{exc}; {still or 'none is served'}") from exc
            slot.model, slot.reason, slot.stale = model, "", False
            slot.loads += 1
            self._report(name, slot)

    async def reload(self) -> None:
        """Open every bundle anew; those that cannot be opened are reported."""
        await self.reload_each(self.slots)

    async def reload_each(self, names: Iterable[str]) -> None:
        """Open bundles anew, but for those that were unloaded.

        Args:
            names: under which they are served.
        """
        for name in names:
            if not self.slots[name].is_unloaded:
                try:
                    await self.load(name)
                except RequestError:
                    continue  # it is in the log, in the metrics and in the readiness

    def unload(self, name: str) -> None:
        """Stop serving a model; requests that have begun are answered.

        Args:
            name: under which it is served.

        Raises:
            UnknownNameError: when no bundle has that name.
        """
        slot = self._slot(name)
        slot.model, slot.reason, slot.stale = None, UNLOADED, False

    def index(self) -> list[dict[str, str]]:
        """List the bundles as the model repository extension does."""
        return [
            {
                "name": name,
                "version": slot.model.version if slot.model else "",
                "state": "READY" if slot.model else "UNAVAILABLE",
                "reason": slot.reason,
            }
            for name, slot in self.slots.items()
        ]

    def _slot(self, name: str) -> Slot:
        slot = self.slots.get(name)
        if slot is None:
            raise UnknownNameError(
                f"no model {name!r}; there are {', '.join(map(repr, self.slots))}"
            )
        return slot

    def _open(self, name: str, slot: Slot) -> ServedModel:
        return ServedModel.open(name, slot.path, self._provider, self._limits, slot.model)
