"""The addresses of the Open Inference Protocol: health, models, inference, statistics.

In: calls. Out: answers, now or at the end of the tick. Raises ``UnknownNameError`` for a model that
is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from runtime.serving.http.message import json_response
from runtime.serving.inference import infer

if TYPE_CHECKING:
    from runtime.serving.http.message import Reply
    from runtime.serving.limits import Limits
    from runtime.serving.models.repository import Repository
    from runtime.serving.observing.traffic import Traffic
    from runtime.serving.routing import Call, Routes

EXTENSIONS: Final = ("binary_tensor_data", "model_repository", "statistics")
_LIVE: Final = json_response({"live": True})
_UNAVAILABLE: Final = 503


class Protocol:
    """Answers clients of the protocol."""

    def __init__(self, repository: Repository, limits: Limits, traffic: Traffic) -> None:
        """Take what is answered with.

        Args:
            repository: the models.
            limits: of the server.
            traffic: tells whether it ends.
        """
        self._repository, self._limits, self._traffic = repository, limits, traffic

    def routes(self) -> Routes:
        """Give the handlers by method, by address."""
        return {
            "/v2": {"GET": self._server},
            "/v2/health/live": {"GET": self._live},
            "/v2/health/ready": {"GET": self._ready},
            "/v2/models/*": {"GET": self._model},
            "/v2/models/*/ready": {"GET": self._model_ready},
            "/v2/models/*/infer": {"POST": self._infer},
            "/v2/models/*/stats": {"GET": self._statistics},
            "/v2/models/stats": {"GET": self._all_statistics},
        }

    def _infer(self, call: Call, reply: Reply) -> None:
        model = self._repository.find(call.name, call.version)
        infer(model, call.request, self._limits, reply)

    def _server(self, _call: Call, reply: Reply) -> None:
        from importlib.metadata import version  # 40 ms to load: not before the first answer

        reply(
            json_response(
                {"name": "onnxferry", "version": version("onnxferry"), "extensions": EXTENSIONS}
            )
        )

    def _live(self, _call: Call, reply: Reply) -> None:
        reply(_LIVE)

    def _ready(self, _call: Call, reply: Reply) -> None:
        slots, draining = self._repository.slots, self._traffic.draining
        reasons = {name: slot.reason for name, slot in slots.items() if slot.reason}
        is_ready = not draining and all(slot.model for slot in slots.values())
        values: dict[str, object] = {"ready": is_ready}
        if reasons:
            values["reasons"] = reasons
        if not is_ready:
            values["error"] = "the server is ending" if draining else "a model is not loaded"
        reply(json_response(values, 200 if is_ready else _UNAVAILABLE))

    def _model(self, call: Call, reply: Reply) -> None:
        reply(json_response(self._repository.find(call.name, call.version).metadata()))

    def _model_ready(self, call: Call, reply: Reply) -> None:
        self._repository.find(call.name, call.version)
        reply(json_response({"name": call.name, "ready": True}))

    def _statistics(self, call: Call, reply: Reply) -> None:
        model = self._repository.find(call.name, call.version)
        reply(json_response({"model_stats": [model.statistics.values(model.name, model.version)]}))

    def _all_statistics(self, _call: Call, reply: Reply) -> None:
        models = self._repository.models()
        found = [one.statistics.values(one.name, one.version) for one in models]
        reply(json_response({"model_stats": found}))
