"""Gives functions requests as they arrive and passes on responses as they come: an app with a
web extension.

In Azure the host forwards the request to a web server in the worker, with the invocation's id in
a header, and has the worker call the function beside it. Here both are one process: the same
application of the extension is called, and finds the function by the same header. As in Azure, a
caller who leaves ends the response's stream; a function that has not returned yet is told nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Scope, Send

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.http_messages import announced_bytes, too_large
from devhost.functions_host.invoker import Invoker
from devhost.functions_host.web_extension import WebExtension

logger = logging.getLogger("sluice.functions_host")

INVOCATION_HEADER = "x-ms-invocation-id"


@dataclass(frozen=True, slots=True)
class _Invocation:
    id: str
    function: AppFunction
    route_values: Mapping[str, str]
    trace_parent: str | None


class StreamedMessages:
    """See `http_trigger.Serving`."""

    def __init__(self, extension: WebExtension, invoker: Invoker, max_body_bytes: int) -> None:
        self._extension = extension
        self._invoker = invoker
        self._max_body_bytes = max_body_bytes
        self._invocations: dict[str, _Invocation] = {}
        self._application = extension.application(self._answer)

    async def __call__(
        self, function: AppFunction, route_values: dict[str, str], request: Request, send: Send
    ) -> None:
        line = _Line(request, send, self._max_body_bytes)
        if not line.too_large:
            trace_parent = request.headers.get("traceparent")
            invocation = _Invocation(str(uuid.uuid4()), function, route_values, trace_parent)
            await self._carry(invocation, request.scope, line)
        if line.too_large and not line.started:
            await line.respond(too_large(self._max_body_bytes))

    async def _carry(self, invocation: _Invocation, scope: Scope, line: _Line) -> None:
        self._invocations[invocation.id] = invocation
        try:
            await self._application(_with_id(scope, invocation.id), line.receive, line.send)
        except Exception:
            if line.too_large:
                return
            if line.started and not line.complete:
                raise  # the server logs it and breaks the connection off
            logger.exception("Function %s raised", invocation.function.name)
            if not line.started:
                status = HTTPStatus.INTERNAL_SERVER_ERROR
                await line.respond(PlainTextResponse(status.phrase, status))
        finally:
            self._invocations.pop(invocation.id, None)

    async def _answer(self, request: Any) -> object:
        """What the worker's one route does."""
        invocation = self._invocations.pop(request.headers[INVOCATION_HEADER])
        self._extension.set_route_values(request, invocation.route_values)
        result = await self._invoker.call(
            invocation.function, request, invocation.trace_parent, invocation.id
        )
        if result is None:
            raise TypeError("with a web extension, an HTTP function must return a response")
        return result


class _Line:
    """The connection to the caller, with the host's limit of a request's body."""

    def __init__(self, request: Request, send: Send, most_bytes: int) -> None:
        self._request = request
        self._send = send
        self._most_bytes = most_bytes
        self._taken = 0
        self.too_large = announced_bytes(request) > most_bytes
        """More of the body came than is taken. For the function, the caller has left."""
        self.started = False
        self.complete = False

    async def receive(self) -> Message:
        message = await self._request.receive()
        if message["type"] == "http.request":
            self._taken += len(message.get("body", b""))
            self.too_large = self.too_large or self._taken > self._most_bytes
        return {"type": "http.disconnect"} if self.too_large else message

    async def send(self, message: Message) -> None:
        if self.too_large:
            return
        if message["type"] == "http.response.start":
            self.started = True
        elif not message.get("more_body", False):
            self.complete = True
        await self._send(message)

    async def respond(self, response: Response) -> None:
        await response(self._request.scope, self._request.receive, self._send)


def _with_id(scope: Scope, invocation_id: str) -> Scope:
    name = INVOCATION_HEADER.encode()
    headers = [header for header in scope["headers"] if header[0] != name]
    return {**scope, "headers": [*headers, (name, invocation_id.encode())]}
