"""Reply when something slow is done, while other requests are answered. No errors leave it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from runtime.errors import OnnxferryError
from runtime.serving.http.message import refusal
from runtime.serving.refusing import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from runtime.serving.http.message import Reply, Response
    from runtime.serving.observing.log import Log


class Later:
    """Answers that are being made; called with what makes one and who is told of it."""

    def __init__(self, log: Log) -> None:
        """Begin with none.

        Args:
            log: told of bugs.
        """
        self._log = log
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself keeps no hold of them

    def __call__(self, answer: Callable[[], Coroutine[None, None, Response]], reply: Reply) -> None:
        """Reply later on.

        Args:
            answer: makes the answer.
            reply: told of it.
        """
        task = asyncio.get_running_loop().create_task(self._run(answer, reply))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(
        self, answer: Callable[[], Coroutine[None, None, Response]], reply: Reply
    ) -> None:
        try:
            reply(await answer())
        except OnnxferryError as exc:
            reply(refuse(exc))
        except Exception as exc:  # noqa: BLE001 - a bug must be answered, too
            self._log.tell_bug(exc)
            reply(refusal(500, "a bug of the server; its log says more"))
