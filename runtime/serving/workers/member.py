"""One of several workers: what one alone cannot answer it answers for all.

Each worker listens on a socket in a folder that only this user can enter, and answers there for
itself. Counts asked of one worker are asked of the others and added up; a bundle that one was
told to load or to unload, all do before the answer is given.
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import msgspec

from runtime.serving.http.connection import Connection
from runtime.serving.http.hub import Hub
from runtime.serving.http.message import Request
from runtime.serving.models.repository import UNLOADED
from runtime.serving.observing.traffic import Traffic
from runtime.serving.workers.asking import ask
from runtime.serving.workers.merging import merge_metrics, merge_statistics
from runtime.serving.workers.remembering import Memory

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    from runtime.serving.app import App
    from runtime.serving.http.message import Reply, Response
    from runtime.serving.workers.task import Task

_OF_ALL: Final = ("/metrics", "/v2/repository/models/")
_COUNTS: Final = "/stats"
_OK: Final = 200


class Member:
    """A worker among workers."""

    def __init__(self, app: App, control: socket.socket, task: Task) -> None:
        """Take what the supervisor has said.

        Args:
            app: answers for this worker.
            control: ends when the supervisor does.
            task: says where the workers' sockets lie, each under its number, and which is its own.
        """
        self._app, self._control, self._folder = app, control, task.folder
        self._number, self._memory = task.number, Memory(task.folder)
        self._path = task.folder / str(task.number)
        self._others = [number for number in range(task.of) if number != task.number]
        self._paths = [task.folder / str(number) for number in self._others]

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
        self._memory.take_over(self._number)
        server = await loop.create_unix_server(lambda: Connection(hub), str(self._path))

        def look() -> None:
            loop.remove_reader(self._control)
            shutil.rmtree(self._folder, ignore_errors=True)  # the supervisor no longer can
            stop()

        loop.add_reader(self._control, look)
        await self._unload_what_others_have()
        try:
            yield
        finally:
            loop.remove_reader(self._control)
            server.close()
            hub.close_all()

    async def _unload_what_others_have(self) -> None:
        """Unload what was unloaded before this worker took the place of one that died."""
        request = Request("GET", "/v2/health/ready", {}, b"", 0)
        for path in self._paths:
            if answer := await ask(path, request):
                reasons = msgspec.json.decode(b"".join(answer.body)).get("reasons", {})
                for name in (name for name, reason in reasons.items() if reason == UNLOADED):
                    self._app.repository.unload(name)
                return

    async def _answer_for_all(self, request: Request) -> Response:
        own = await self._answer_alone(request)
        if own.status != _OK or request.method == "HEAD":
            return own
        found = await asyncio.gather(*(ask(path, request) for path in self._paths))
        if request.target.startswith("/metrics"):
            counts = [(self._number, own), *zip(self._others, found, strict=True)]
            return merge_metrics([self._memory.complete(*one, own) for one in counts])
        answers = [one for one in found if one is not None]
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
