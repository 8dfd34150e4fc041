"""Put a server together: its models, who may ask, and one process or several."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from runtime.serving.access.gate import Gate
from runtime.serving.app import App, build_app
from runtime.serving.binding import bind
from runtime.serving.descriptors import allow_connections
from runtime.serving.models.repository import Repository
from runtime.serving.observing.log import Log
from runtime.serving.observing.traffic import Traffic
from runtime.serving.process import run_process
from runtime.terminal import process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.serving.models.repository import Slot
    from runtime.serving.settings import Settings


_GC_OBJECTS: Final = 50_000


def run_server(bundles: Mapping[str, Path], settings: Settings) -> None:
    """Open the bundles, listen, and serve until a signal ends it.

    Args:
        bundles: folders by name.
        settings: how it is run.

    Raises:
        OnnxferryError: when a bundle cannot be opened or the address is taken.
    """
    app = open_app(bundles, settings)
    with bind(settings.host, settings.port) as listener:
        run_process(app, listener, settings, process.log)


def open_app(bundles: Mapping[str, Path], settings: Settings) -> App:
    """Open the bundles.

    Args:
        bundles: folders by name.
        settings: how they are served.

    Returns:
        What answers requests.

    Raises:
        OnnxferryError: when a bundle cannot be opened, or there are no keys where there should be.
    """
    log, limits = Log(settings.level), allow_connections(settings.limits)
    if limits.connections < settings.limits.connections:
        log.tell("info", "fewer connections: ulimit -n", connections=limits.connections)

    def refused(reason: str) -> None:
        log.tell("error", "keys refused", reason=reason)

    def report(name: str, slot: Slot) -> None:
        version = slot.model.version if slot.model else None
        if slot.stale:
            log.tell("error", "load refused", model=name, reason=slot.reason, served=version)
        else:
            log.tell("info", "load", model=name, served=version)

    keys = None
    if settings.key_file:
        from runtime.serving.access.keys import Keys  # hashing takes milliseconds to load

        keys = Keys(settings.key_file, refused)
    repository = Repository(bundles, settings.provider, limits, report)
    repository.open_all()
    app = build_app(repository, limits, Traffic(), log, Gate(keys))
    gc.freeze()  # what is loaded stays; and no request makes a cycle, so looking seldom is enough
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    return app
