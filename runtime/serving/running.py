"""Put a server together and run it in an event loop."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from runtime import console
from runtime.screen.terminal import harmless
from runtime.serving.app import App, build_app
from runtime.serving.models.repository import Repository
from runtime.serving.models.watching import watch
from runtime.serving.observing.log import Log
from runtime.serving.observing.traffic import Traffic
from runtime.serving.server import Server, bind

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.schema import Feature
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
    log, limits = Log(settings.level), settings.limits

    def report(name: str, slot: Slot) -> None:
        version = slot.model.version if slot.model else None
        if slot.stale:
            log.tell("error", "load refused", model=name, reason=slot.reason, served=version)
        else:
            log.tell("info", "load", model=name, served=version)

    repository = Repository(bundles, settings.provider, limits, report)
    repository.open_all()
    app = build_app(repository, limits, Traffic(), log)
    gc.freeze()  # what is loaded stays; and no request makes a cycle, so looking seldom is enough
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    with bind(settings.host, settings.port) as listener:
        uvloop.run(_serve(app, listener, watches=settings.watches))


async def _serve(app: App, listener: socket.socket, *, watches: bool) -> None:
    loop, repository = asyncio.get_running_loop(), app.repository
    tasks: set[asyncio.Task[None]] = set()

    def reload() -> None:
        task = loop.create_task(repository.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    watching = loop.create_task(watch(repository)) if watches else None
    try:
        await Server(app).serve(listener, lambda: console.say(start_line(repository, listener)))
    finally:
        if watching:
            watching.cancel()
    app.log.tell("info", "ended", answers=sum(app.traffic.answers.values()))


def start_line(repository: Repository, listener: socket.socket) -> str:
    """Say what is served, where and on what, and how to try it."""
    host, port = listener.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    models = list(repository.models())
    served = ", ".join(f"{one.name} {one.version}" for one in models)
    first = models[0].predictor
    row = {feature.name: _example(feature) for feature in first.schema.features}
    session = first.session
    query = f"?model={models[0].name}" if len(models) > 1 else ""
    return harmless(
        f"{served} at {where} on {session.provider} ({session.reason}); "
        f"try: curl {where}/predict{query} -d '{msgspec.json.encode(row).decode()}'"
    )


def _example(feature: Feature) -> float | str:
    """A value that the column may hold."""
    if feature.categories:
        return feature.categories[0]
    return float(f"{(feature.minimum + feature.maximum) / 2:.3g}")
