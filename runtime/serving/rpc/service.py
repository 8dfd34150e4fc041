"""What each method of ``GRPCInferenceService`` does.

An inference joins the batches of HTTP; all else is asked of the very handler that answers HTTP,
so both say the same. In: messages. Out: messages, or a status with the words of HTTP's refusal.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import grpc
import msgspec
from google.protobuf.json_format import MessageToDict

from runtime.errors import OnnxferryError
from runtime.serving.http.message import Request, Response
from runtime.serving.rpc.inference import Inference, Sent
from runtime.serving.rpc.messages import address, message, service
from runtime.serving.rpc.writing import as_message, status_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.serving.app import App
    from runtime.serving.http.message import Handle
    from runtime.serving.rpc.messages import Message

# Header fields that mean the same here.
_CARRIED: Final = frozenset({"authorization", "x-api-key", "x-request-id", "traceparent"})
_UNKNOWN: Final = 404
_OK: Final = 200

Context = Any  # grpc publishes no types


class Service:
    """Answers gRPC's calls with an application's models.

    Attributes:
        inference: the calls that are inferences.
    """

    def __init__(self, app: App, handle: Handle) -> None:
        """Take the application.

        Args:
            app: its models, limits and counts.
            handle: answers a request of HTTP.
        """
        self._app, self._handle = app, handle
        self.inference = Inference(app)

    def handler(self) -> object:
        """Give what a server of gRPC is told to serve."""
        methods = {}
        for method in service().methods:
            wrap, call = grpc.unary_unary_rpc_method_handler, getattr(self, f"_{method.name}")
            if method.client_streaming:
                wrap = grpc.stream_stream_rpc_method_handler
            inference = method.input_type.name == "ModelInferRequest"
            read = self.inference.read if inference else message(method.input_type.name).FromString
            methods[method.name] = wrap(call, read, lambda answer: answer.SerializeToString())
        return grpc.method_handlers_generic_handler(service().full_name, methods)

    # ---- Inference ---------------------------------------------------------------------------

    async def _let_in(self, context: Context) -> None:
        if refused := self._app.gate.refuse(_as_request("", context, b"")):
            await context.abort(*status_of(refused))

    async def _ModelInfer(self, sent: Sent, context: Context) -> Message:  # noqa: N802 - the protocol's name
        await self._let_in(context)
        answer = await self.inference.answer(sent)
        if isinstance(answer, Response):
            del sent  # the call and what abort raises hold each other, and this frame, for long
            await context.abort(*status_of(answer))
        return answer

    async def _ModelStreamInfer(  # noqa: N802 - likewise
        self, stream: AsyncIterator[Sent], context: Context
    ) -> AsyncIterator[Message]:
        await self._let_in(context)
        async for sent in stream:
            answer = await self.inference.answer(sent)
            kind = message("ModelStreamInferResponse")
            if isinstance(answer, Response):
                told = {"error_message": status_of(answer)[1]}
                if not isinstance(sent, OnnxferryError):  # a stream's client tells them by their id
                    told["infer_response"] = message("ModelInferResponse")(id=sent.id)
                yield kind(**told)
            else:
                yield kind(infer_response=answer)

    # ---- The rest, by HTTP's handler ---------------------------------------------------------

    async def _ServerLive(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._tell("ServerLiveResponse", "/v2/health/live", context)

    async def _ServerReady(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        response = await self.ask("/v2/health/ready", context)
        return message("ServerReadyResponse")(ready=response.status == _OK)

    async def _ModelReady(self, sent: Message, context: Context) -> Message:  # noqa: N802
        response = await self.ask(address(sent.name, sent.version, "ready"), context)
        if response.status not in {_OK, _UNKNOWN}:
            await context.abort(*status_of(response))
        return message("ModelReadyResponse")(ready=response.status == _OK)

    async def _ServerMetadata(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._tell("ServerMetadataResponse", "/v2", context)

    async def _ModelMetadata(self, sent: Message, context: Context) -> Message:  # noqa: N802
        target = address(sent.name, sent.version)
        return await self._tell("ModelMetadataResponse", target, context)

    async def _ModelStatistics(self, sent: Message, context: Context) -> Message:  # noqa: N802
        target = address(sent.name, sent.version, "stats") if sent.name else "/v2/models/stats"
        return await self._tell("ModelStatisticsResponse", target, context)

    async def _RepositoryIndex(self, sent: Message, context: Context) -> Message:  # noqa: N802
        body = msgspec.json.encode({"ready": sent.ready})
        return await self._tell("RepositoryIndexResponse", "/v2/repository/index", context, body)

    async def _RepositoryModelLoad(self, sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._change("load", sent, context)

    async def _RepositoryModelUnload(self, sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._change("unload", sent, context)

    async def _change(self, verb: str, sent: Message, context: Context) -> Message:
        target = f"/v2/repository/models/{quote(sent.model_name, safe='')}/{verb}"
        body = msgspec.json.encode({"parameters": MessageToDict(sent).get("parameters", {})})
        return await self._tell(f"RepositoryModel{verb.title()}Response", target, context, body)

    async def _tell(self, name: str, target: str, context: Context, body: bytes = b"") -> Message:
        response = await self.ask(target, context, body)
        if response.status != _OK:
            await context.abort(*status_of(response))
        return as_message(name, response)

    async def ask(self, target: str, context: Context, body: bytes = b"") -> Response:
        """Ask HTTP's handler.

        Args:
            target: as HTTP has it.
            context: of the call; keys and ids are taken from it.
            body: of a POST; empty for a GET.

        Returns:
            Its answer.
        """
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def reply(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        self._handle(_as_request(target, context, body), reply)
        return await future


def _as_request(target: str, context: Context, body: bytes) -> Request:
    headers = {
        name.encode(): value.encode()
        for name, value in context.invocation_metadata() or ()
        if name in _CARRIED
    }
    method = "POST" if body else "GET"
    return Request(method, target, headers, body, time.perf_counter_ns())
