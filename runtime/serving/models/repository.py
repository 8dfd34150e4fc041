"""The model repository: named bundles, their load state, and reload on change.

A bundle is opened and verified in a thread while others are served, then replaces the previous
version in one assignment: requests in flight keep theirs. A failed load changes only the reason.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import numpy as np

from runtime.bundle.manifest import MANIFEST
from runtime.bundle.reading import read_bundle
from runtime.errors import OnnxferryError, RequestError, StoreError, UnknownNameError
from runtime.io.watching import find_subfolders
from runtime.predictor import Predictor
from runtime.printable import list_names
from runtime.serving.detached import run_detached
from runtime.serving.models.served import ServedModel
from runtime.surfaces import server_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from runtime.bundle.reading import BundleFiles
    from runtime.choices import ProviderChoice
    from runtime.io.paths import Location
    from runtime.serving.models.batcher import BatchObserver
    from runtime.serving.settings import Limits

UNLOADED: Final = "unloaded"  # the reason that is shown


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

    def __init__(self, path: Location) -> None:
        """Begin without a model."""
        self.path = path
        self.model: ServedModel | None = None
        self.reason = ""
        self.failures = self.loads = 0
        self.stale = False

    def fail(self, error: OnnxferryError) -> None:
        """Record a failed load; the model stays."""
        self.failures += 1
        self.reason, self.stale = str(error), True

    @property
    def is_unloaded(self) -> bool:
        """Whether a client unloaded it; it stays so until a client loads it."""
        return self.reason == UNLOADED

    @property
    def is_missing(self) -> bool:
        """Whether it was served, and no model is, though nobody unloaded it."""
        return self.model is None and not self.is_unloaded and self.loads > 0


class Repository:
    """All bundles of a server.

    Attributes:
        slots: by name.
        folder: of bundles, where new ones are found; None without one.
        observe: returns what records the batches of a model, by its name and version; None without
            telemetry.
    """

    def __init__(
        self,
        bundles: Mapping[str, Location],
        provider: ProviderChoice,
        limits: Limits,
        report: Callable[[str, ModelSlot], None],
        folder: Location | None = None,
        *,
        signer: Path | None = None,
    ) -> None:
        """Take folders by name; ``report`` is called after each load, successful or not.

        ``signer`` is the public key that must have signed each bundle.
        """
        self.folder, self._signer = folder, signer
        self.slots = {name: ModelSlot(path) for name, path in bundles.items()}
        self._provider, self._limits, self._report = provider, limits, report
        self._loading: dict[str, asyncio.Lock] = {}
        self.observe: Callable[[str, str], BatchObserver] | None = None

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

    @property
    def is_ready(self) -> bool:
        """Whether a model is served, and each one that is to be served."""
        slots = self.slots.values()
        return any(slot.model for slot in slots) and not any(slot.is_missing for slot in slots)

    def only(self) -> str:
        """Return the name of the only bundle; raises ``UnknownNameError`` if there are several."""
        names = [name for name, slot in self.slots.items() if slot.loads]
        if len(names) != 1:
            raise UnknownNameError(f"which model? add ?model=NAME; there are {list_names(names)}")
        return names[0]

    def models(self) -> Iterator[ServedModel]:
        """Iterate over the loaded models."""
        return (slot.model for slot in self.slots.values() if slot.model)

    def discover(self) -> list[str]:
        """Add the bundles that are new in the folder; return their names.

        Those that vanished before they could ever be loaded are forgotten. Raises
        ``OnnxferryError`` when a store cannot be reached.
        """
        return self._take(find_bundles(self.folder))

    async def rediscover(self) -> None:
        """Add the bundles that are new, without waiting for a store in the event loop.

        Raises ``OnnxferryError`` when a store cannot be reached.
        """
        self._take(await run_detached(find_bundles, self.folder))

    def _take(self, found: Mapping[str, Location]) -> list[str]:
        for name in [name for name, slot in self.slots.items() if not slot.loads]:
            if name not in found:
                del self.slots[name]
        new = [name for name in found if name not in self.slots]
        self.slots.update({name: ModelSlot(found[name]) for name in new})
        return new

    def open_new(self) -> None:
        """Open what is new in the folder, before the server listens; failures are reported."""
        for name in self.discover():
            slot = self.slots[name]
            try:
                slot.model = self._open(name, slot)
            except OnnxferryError as exc:
                slot.fail(exc)
            else:
                slot.loads += 1
            self._report(name, slot)

    async def load(self, name: str) -> None:
        """Open a bundle and replace the model once verified; it may be new in the folder.

        Raises ``UnknownNameError``, or ``RequestError`` when the bundle cannot be opened.
        """
        if name not in self.slots:
            found = await run_detached(find_bundles, self.folder)
            if name in found:
                self.slots.setdefault(name, ModelSlot(found[name]))
        slot = self._slot(name, sought=True)
        async with self._loading.setdefault(name, asyncio.Lock()):
            try:
                bundle = await run_detached(read_bundle, slot.path, self._signer)
                model = await asyncio.to_thread(self._open, name, slot, bundle)
            except OnnxferryError as exc:
                slot.fail(exc)
                self._report(name, slot)
                served = f"version {slot.model.version} is still served" if slot.model else ""
                raise RequestError(f"{exc}; {served or 'none is served'}") from exc
            slot.model, slot.reason, slot.stale = model, "", False
            slot.loads += 1
            self._report(name, slot)

    async def reload(self) -> None:
        """Load every bundle that was not unloaded, and those that are new in the folder."""
        with suppress(OnnxferryError):  # the loads report it
            await self.rediscover()
        for name in list(self.slots):
            await self.reload_one(name)

    async def reload_one(self, name: str) -> bool:
        """Reload a bundle that was not unloaded; failures are reported.

        Returns whether the bundle was read, good or bad: False where its store gave none.
        """
        slot = self.slots.get(name)
        if slot and not slot.is_unloaded:
            try:
                await self.load(name)
            except RequestError as exc:  # see the log, the metrics and the readiness
                return not isinstance(exc.__cause__, StoreError)
        return True

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

    def _slot(self, name: str, *, sought: bool = False) -> ModelSlot:
        """Find a model's slot; ``sought`` says that the folder was searched for it, too."""
        slot = self.slots.get(name)
        if slot:
            return slot
        there = f"there are {list_names(self.slots)}"
        if self.folder is None:
            raise UnknownNameError(f"no model {name!r}; {there}")
        folder = f"the folder of {server_option('models')}"
        if sought:
            raise UnknownNameError(f"no model {name!r} and no such bundle in {folder}; {there}")
        raise UnknownNameError(
            f"no model {name!r}; {there}; if it is new in {folder}, "
            f"POST /v2/repository/models/{name}/load"
        )

    def _open(self, name: str, slot: ModelSlot, bundle: BundleFiles | None = None) -> ServedModel:
        """Open, verify and warm up a bundle, read before or not; raises ``OnnxferryError``."""
        bundle = bundle or read_bundle(slot.path, self._signer)
        predictor = Predictor(bundle, provider=self._provider)
        predictor.run(np.zeros((1, predictor.schema.n_inputs), np.float32))  # warm up
        model = ServedModel(name, predictor, self._limits, slot.model)
        if self.observe:
            model.batcher.observer = self.observe(name, model.version)
        return model


def find_bundles(folder: Location | None) -> Mapping[str, Location]:
    """Return the bundles in a folder by name; none where it cannot be read.

    Raises ``OnnxferryError`` when a store cannot be reached.
    """
    try:
        return find_subfolders(folder, MANIFEST) if folder else {}
    except OSError:
        return {}
