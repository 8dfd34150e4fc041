"""The methods of ``GRPCInferenceService``.

Inference joins HTTP's batches; all other methods query HTTP's handler, so both transports give
the same responses.
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
from runtime.serving.grpc.codec import grpc_status, http_target, message, service, to_message
from runtime.serving.grpc.inference import InferenceHandler, Received
from runtime.serving.http.messages import Request, Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from runtime.serving.app import App
    from runtime.serving.grpc.codec import Message
    from runtime.serving.http.messages import Handle

# Metadata that is passed on as HTTP header fields.
_HEADERS: Final = frozenset({"authorization", "x-api-key", "x-request-id", "traceparent"})
_NOT_FOUND: Final = 404
_OK: Final = 200

Context = Any  # grpc publishes no types


class InferenceService:
    """Serves an application's models over gRPC; ``inference`` handles the inference calls."""

    def __init__(self, app: App, handle: Handle) -> None:
        """Serve the models of ``app``; ``handle`` is HTTP's request handler."""
        self._app, self._handle = app, handle
        self.inference = InferenceHandler(app)

    def handler(self) -> object:
        """Return the generic handler to add to a gRPC server."""
        methods = {}
        for method in service().methods:
            wrap, call = grpc.unary_unary_rpc_method_handler, getattr(self, f"_{method.name}")
            if method.client_streaming:
                wrap = grpc.stream_stream_rpc_method_handler
            infers = method.input_type.name == "ModelInferRequest"
            parse = self.inference.parse if infers else message(method.input_type.name).FromString
            methods[method.name] = wrap(call, parse, lambda response: response.SerializeToString())
        return grpc.method_handlers_generic_handler(service().full_name, methods)

    # ---- Inference ---------------------------------------------------------------------------

    async def authorize(self, context: Context) -> None:
        """Abort a call without a valid key."""
        request = _to_request("", context, b"")
        if rejected := self._app.auth.check(request):
            await self._abort(rejected, context, request)

    async def _abort(self, response: Response, context: Context, request: Request) -> None:
        """End a call with the error of a response, and count it for the log."""
        self._app.failures.record(response, request)
        await context.abort(*grpc_status(response))

    async def _ModelInfer(self, received: Received, context: Context) -> Message:  # noqa: N802 - the protocol's name
        await self.authorize(context)
        response = await self.inference.respond(received)
        if isinstance(response, Response):
            del received  # abort's exception keeps this frame alive
            await context.abort(*grpc_status(response))
        return response

    async def _ModelStreamInfer(  # noqa: N802 - likewise
        self, stream: AsyncIterator[Received], context: Context
    ) -> AsyncIterator[Message]:
        await self.authorize(context)
        async for received in stream:
            response = await self.inference.respond(received)
            stream_response = message("ModelStreamInferResponse")
            if isinstance(response, Response):
                fields = {"error_message": grpc_status(response)[1]}
                if not isinstance(received, OnnxferryError):  # clients match responses by their id
                    fields["infer_response"] = message("ModelInferResponse")(id=received.id)
                yield stream_response(**fields)
            else:
                yield stream_response(infer_response=response)

    # ---- Other methods, by HTTP's handler -------------------------------------------------------

    async def _ServerLive(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._forward("ServerLiveResponse", "/v2/health/live", context)

    async def _ServerReady(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        response = await self.query("/v2/health/ready", context)
        return message("ServerReadyResponse")(ready=response.status == _OK)

    async def _ModelReady(self, sent: Message, context: Context) -> Message:  # noqa: N802
        response = await self.query(http_target(sent.name, sent.version, "ready"), context)
        if response.status not in {_OK, _NOT_FOUND}:
            await self._abort(response, context, _to_request("ModelReady", context, b""))
        return message("ModelReadyResponse")(ready=response.status == _OK)

    async def _ServerMetadata(self, _sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._forward("ServerMetadataResponse", "/v2", context)

    async def _ModelMetadata(self, sent: Message, context: Context) -> Message:  # noqa: N802
        target = http_target(sent.name, sent.version)
        return await self._forward("ModelMetadataResponse", target, context)

    async def _ModelStatistics(self, sent: Message, context: Context) -> Message:  # noqa: N802
        one = http_target(sent.name, sent.version, "stats")
        target = one if sent.name else "/v2/models/stats"
        return await self._forward("ModelStatisticsResponse", target, context)

    async def _RepositoryIndex(self, sent: Message, context: Context) -> Message:  # noqa: N802
        body = msgspec.json.encode({"ready": sent.ready})
        return await self._forward("RepositoryIndexResponse", "/v2/repository/index", context, body)

    async def _RepositoryModelLoad(self, sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._change_model("load", sent, context)

    async def _RepositoryModelUnload(self, sent: Message, context: Context) -> Message:  # noqa: N802
        return await self._change_model("unload", sent, context)

    async def _change_model(self, verb: str, sent: Message, context: Context) -> Message:
        target = f"/v2/repository/models/{quote(sent.model_name, safe='')}/{verb}"
        body = msgspec.json.encode({"parameters": MessageToDict(sent).get("parameters", {})})
        return await self._forward(f"RepositoryModel{verb.title()}Response", target, context, body)

    async def _forward(
        self, name: str, target: str, context: Context, body: bytes = b""
    ) -> Message:
        """Convert the response of HTTP's handler, or abort with its error."""
        response = await self.query(target, context, body)
        if response.status != _OK:
            await self._abort(response, context, _to_request(target, context, body))
        return to_message(name, response)

    async def query(self, target: str, context: Context, body: bytes = b"") -> Response:
        """Query HTTP's handler with the credentials of a call: a POST where there is a body."""
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def reply(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        self._handle(_to_request(target, context, body), reply)
        return await future


def _to_request(target: str, context: Context, body: bytes) -> Request:
    headers = {
        name.encode(): value.encode()
        for name, value in context.invocation_metadata() or ()
        if name in _HEADERS
    }
    method = "POST" if body else "GET"
    return Request(method, target, headers, body, time.perf_counter_ns())
