"""Put a server together and run it in an event loop."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import uvloop

from runtime import console
from runtime.serving.app import build_app
from runtime.serving.models.repository import Repository
from runtime.serving.server import Server, bind

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from pathlib import Path

    from runtime.choices import ProviderChoice
    from runtime.commands.serve import Place
    from runtime.serving.limits import Limits
    from runtime.serving.models.repository import Slot


def run_server(
    bundles: Mapping[str, Path], place: Place, provider: ProviderChoice, limits: Limits
) -> None:
    """Open the bundles, listen, and serve until a signal ends it.

    Args:
        bundles: folders by name.
        place: where to listen.
        provider: what runs the models.
        limits: of the server.

    Raises:
        OnnxferryError: when a bundle cannot be opened or the address is taken.
    """
    repository = Repository(bundles, provider, limits, _report_load)
    repository.open_all()
    with bind(place.host, place.port) as listener:
        uvloop.run(_serve(repository, listener, limits))


async def _serve(repository: Repository, listener: socket.socket, limits: Limits) -> None:
    server = Server(build_app(repository, limits), limits, _report_bug)
    await server.serve(listener, lambda: console.say(start_line(repository, listener)))


def start_line(repository: Repository, listener: socket.socket) -> str:
    """Say what is served, where and on what, and how to try it."""
    host, port = listener.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    models = list(repository.models())
    served = ", ".join(f"{one.name} {one.version}" for one in models)
    first = models[0]
    example = ",".join(f"{feature.minimum:g}" for feature in first.predictor.schema.features)
    body = (
        f'{{"inputs":[{{"name":"features","shape":[1,{first.predictor.schema.n_features}],'
        f'"datatype":"FP32","data":[{example}]}}]}}'
    )
    session = first.predictor.session
    return (
        f"{served} at {where} on {session.provider} ({session.reason}); try: "
        f"curl {where}/v2/models/{first.name}/infer -d '{body}'"
    )


def _report_load(name: str, slot: Slot) -> None:
    if slot.reason:
        console.say(f"{name}: not reloaded: {slot.reason}")
    elif slot.model:
        console.say(f"{name}: version {slot.model.version} is served")


def _report_bug(error: Exception) -> None:
    console.say("".join(traceback.format_exception(error)))
