"""Gives functions whole requests and takes whole responses: an app without a web extension."""

from __future__ import annotations

import logging
from http import HTTPStatus

import azure.functions as func
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Send

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.http_messages import (
    BodyTooLargeError,
    read_body,
    to_function_request,
    to_http_response,
    too_large,
)
from devhost.functions_host.invoker import Invoker

logger = logging.getLogger("sluice.functions_host")


class WholeMessages:
    """See `http_trigger.Serving`."""

    def __init__(self, invoker: Invoker, max_body_bytes: int) -> None:
        self._invoker = invoker
        self._max_body_bytes = max_body_bytes

    async def __call__(
        self, function: AppFunction, route_values: dict[str, str], request: Request, send: Send
    ) -> None:
        response = await self._response(function, route_values, request)
        await response(request.scope, request.receive, send)

    async def _response(
        self, function: AppFunction, route_values: dict[str, str], request: Request
    ) -> Response:
        try:
            body = await read_body(request, self._max_body_bytes)
        except ClientDisconnect:
            text = "The caller left before the body had arrived."
            return PlainTextResponse(text, HTTPStatus.BAD_REQUEST)
        except BodyTooLargeError:
            return too_large(self._max_body_bytes)
        given = to_function_request(request, route_values, body)
        return await self._call(function, given, request.headers.get("traceparent"))

    async def _call(
        self, function: AppFunction, request: func.HttpRequest, trace_parent: str | None
    ) -> Response:
        try:
            return to_http_response(await self._invoker.call(function, request, trace_parent))
        except Exception:
            logger.exception("Function %s raised", function.name)
            text = "The function failed; see its log."
            return PlainTextResponse(text, HTTPStatus.INTERNAL_SERVER_ERROR)
