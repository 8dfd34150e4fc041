"""Put a server together and run it in an event loop."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING, Final

import msgspec
import uvloop

from runtime import console
from runtime.errors import UsageError
from runtime.screen.terminal import harmless
from runtime.serving.access.certificate import new_context
from runtime.serving.access.gate import Gate
from runtime.serving.access.keys import Keys
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
    from ssl import SSLContext

    from runtime.schema import Feature
    from runtime.serving.models.repository import Slot
    from runtime.serving.rpc.server import RpcServer
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

    def refused(reason: str) -> None:
        log.tell("error", "keys refused", reason=reason)

    def report(name: str, slot: Slot) -> None:
        version = slot.model.version if slot.model else None
        if slot.stale:
            log.tell("error", "load refused", model=name, reason=slot.reason, served=version)
        else:
            log.tell("info", "load", model=name, served=version)

    gate = Gate(Keys(settings.key_file, refused) if settings.key_file else None)
    tls = new_context(settings.certificate) if settings.certificate else None
    repository = Repository(bundles, settings.provider, limits, report)
    repository.open_all()
    app = build_app(repository, limits, Traffic(), log, gate)
    gc.freeze()  # what is loaded stays; and no request makes a cycle, so looking seldom is enough
    gc.set_threshold(_GC_OBJECTS, 20, 50)
    with bind(settings.host, settings.port) as listener:
        uvloop.run(_serve(app, listener, settings, tls))


async def _serve(
    app: App, listener: socket.socket, settings: Settings, tls: SSLContext | None
) -> None:
    loop, repository = asyncio.get_running_loop(), app.repository
    tasks: set[asyncio.Task[None]] = set()

    def reload() -> None:
        if tls:
            _renew(tls, settings, app.log)
        task = loop.create_task(repository.reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    loop.add_signal_handler(signal.SIGHUP, reload)
    server = Server(app)
    rpc = await _start_rpc(app, settings)
    ends = [loop.create_task(_end(rpc, server, settings.limits.drain_s))] if rpc else []
    watching = loop.create_task(watch(repository)) if settings.watches else None
    try:
        await server.serve(
            listener, lambda: console.say(start_line(app, listener, rpc, has_tls=bool(tls))), tls
        )
        await asyncio.gather(*ends)
    finally:
        if watching:
            watching.cancel()
    app.log.tell("info", "ended", answers=sum(app.traffic.answers.values()))


async def _start_rpc(app: App, settings: Settings) -> RpcServer | None:
    if settings.grpc_port is None:
        return None
    from runtime.serving.rpc.server import start

    return await start(app, app.handle, settings)


async def _end(rpc: RpcServer, server: Server, grace_s: float) -> None:
    """End gRPC when HTTP is told to end."""
    await server.stopped.wait()
    await rpc.stop(grace_s)


def _renew(tls: SSLContext, settings: Settings, log: Log) -> None:
    """Read the certificate anew."""
    try:
        if settings.certificate:
            settings.certificate.load(tls)
    except UsageError as exc:
        log.tell("error", "certificate refused", reason=str(exc))


def start_line(app: App, listener: socket.socket, rpc: RpcServer | None, *, has_tls: bool) -> str:
    """Say what is served, where and on what, and how to try it."""
    host, port = listener.getsockname()[:2]
    where = f"{'https' if has_tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    models = list(app.repository.models())
    served = ", ".join(f"{one.name} {one.version}" for one in models)
    first = models[0].predictor
    row = {feature.name: _example(feature) for feature in first.schema.features}
    session = first.session
    query = f"?model={models[0].name}" if len(models) > 1 else ""
    also = f", gRPC at port {rpc.port}," if rpc else ""
    return harmless(
        f"{served} at {where}{also} on {session.provider} ({session.reason}); "
        f"try: curl {where}/predict{query} -d '{msgspec.json.encode(row).decode()}'"
    )


def _example(feature: Feature) -> float | str:
    """A value that the column may hold."""
    if feature.categories:
        return feature.categories[0]
    return float(f"{(feature.minimum + feature.maximum) / 2:.3g}")
