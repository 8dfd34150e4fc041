"""One of several workers: what one alone cannot answer it answers for all.

Each worker listens on a socket in a folder that only this user can enter, and answers there for
itself. Counts asked of one worker are asked of the others and added up; a bundle that one was
told to load or to unload, all do before the answer is given.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from runtime.serving.http.connection import Connection
from runtime.serving.http.hub import Hub
from runtime.serving.observing.traffic import Traffic
from runtime.serving.workers.asking import ask
from runtime.serving.workers.merging import merge_metrics, merge_statistics

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from runtime.serving.app import App
    from runtime.serving.http.message import Reply, Request, Response

_OF_ALL: Final = ("/metrics", "/v2/repository/models/")
_COUNTS: Final = "/stats"
_OK: Final = 200


class Member:
    """A worker among workers."""

    def __init__(
        self,
        app: App,
        control: socket.socket,
        folder: Path,
        number: int,
        others: Sequence[int],
    ) -> None:
        """Take what the supervisor has said.

        Args:
            app: answers for this worker.
            control: ends when the supervisor does.
            folder: where the workers' sockets lie, each under its number.
            number: of this worker.
            others: numbers of the other workers.
        """
        self._app, self._control = app, control
        self._path = folder / str(number)
        self._paths = [folder / str(number) for number in others]

    def handle(self, request: Request, reply: Reply) -> None:
        """Answer a request, for all workers where it concerns all.

        Args:
            request: whole.
            reply: told of the answer.
        """
        target = request.target
        if target.startswith(_OF_ALL) or _COUNTS in target:
            self._app.later(lambda: self._answer_for_all(request), reply)
        else:
            self._app.handle(request, reply)

    @asynccontextmanager
    async def joined(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Answer the other workers, and end when there is no supervisor any more.

        Args:
            stop: ends the server.
        """
        loop, app = asyncio.get_running_loop(), self._app
        hub = Hub(app.handle, app.limits, Traffic(), app.log.tell_bug)
        hub.start(loop)
        self._path.unlink(missing_ok=True)  # of a worker that died
        server = await loop.create_unix_server(lambda: Connection(hub), str(self._path))

        def look() -> None:
            loop.remove_reader(self._control)
            stop()

        loop.add_reader(self._control, look)
        try:
            yield
        finally:
            loop.remove_reader(self._control)
            server.close()
            hub.close_all()

    async def _answer_for_all(self, request: Request) -> Response:
        own = await self._answer_alone(request)
        if own.status != _OK:
            return own
        asked = (ask(path, request) for path in self._paths)
        answers = [one for one in await asyncio.gather(*asked) if one is not None]
        if request.target.startswith("/metrics"):
            return merge_metrics([own, *answers])
        if request.method == "GET":
            return merge_statistics([own, *answers])
        refused = next((one for one in answers if one.status != _OK), None)
        return refused or own

    async def _answer_alone(self, request: Request) -> Response:
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def reply(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        self._app.handle(request, reply)
        return await future
