"""Slow handlers as tasks of the event loop, so that other requests are handled meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runtime.errors import OnnxferryError
from runtime.serving.http.messages import exception_response, internal_error_response

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runtime.serving.http.messages import Reply, Response
    from runtime.serving.observability.log import Logger


class BackgroundTasks:
    """Runs handlers as tasks of the event loop."""

    def __init__(self, logger: Logger) -> None:
        """Log bugs of handlers to ``logger``."""
        self._logger = logger
        self._tasks: set[asyncio.Task[None]] = set()  # the loop holds only weak references

    def start(self, handler: Callable[[], Coroutine[None, None, Response]], reply: Reply) -> None:
        """Run a handler and reply with its response."""
        task = asyncio.get_running_loop().create_task(self._run(handler, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, handler: Callable[[], Coroutine[None, None, Response]], reply: Reply
    ) -> None:
        try:
            reply(await handler())
        except OnnxferryError as exc:
            reply(exception_response(exc))
        except Exception as exc:  # noqa: BLE001 - a bug still gets a response
            self._logger.internal_error(exc)
            reply(internal_error_response())
