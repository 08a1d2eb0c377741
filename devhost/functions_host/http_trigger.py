"""Serves HTTP triggers: finds the function, checks the key and the limits, calls it."""

from __future__ import annotations

import logging
from http import HTTPStatus

import azure.functions as func
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.host_json import HttpConfig
from devhost.functions_host.http_endpoints import Endpoint
from devhost.functions_host.http_messages import (
    MAX_BODY_BYTES,
    BodyTooLargeError,
    read_body,
    to_function_request,
    to_http_response,
)
from devhost.functions_host.invoker import Invoker
from devhost.functions_host.keys import Keys, presented_key
from devhost.functions_host.request_limits import RequestLimits, TooManyRequestsError
from devhost.functions_host.routes import split_path

logger = logging.getLogger("sluice.functions_host")


class HttpTriggers:
    """All HTTP functions of the app, as one Starlette endpoint."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        invoker: Invoker,
        keys: Keys | None,
        config: HttpConfig,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.endpoints = endpoints
        self._invoker = invoker
        self._keys = keys
        self._limits = RequestLimits(config)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request) -> Response:
        path = split_path(request.scope["raw_path"].decode("latin-1"))
        matches = [
            (endpoint, values)
            for endpoint in self.endpoints
            if (values := endpoint.route.match(path)) is not None
        ]
        if not matches:
            return _plain(HTTPStatus.NOT_FOUND, "No function has this route.")
        for endpoint, values in matches:
            if endpoint.allows(request.method):
                return await self._serve(endpoint, values, request)
        return _wrong_method(request.method, [endpoint for endpoint, _ in matches])

    async def _serve(
        self, endpoint: Endpoint, values: dict[str, str], request: Request
    ) -> Response:
        key = presented_key(request.headers, request.query_params)
        if self._keys is not None and not self._keys.permit(endpoint.access, key):
            return _plain(HTTPStatus.UNAUTHORIZED, "This function needs its key.")
        try:
            async with self._limits.slot():
                body = await read_body(request, self._max_body_bytes)
                return await self._call(
                    endpoint.function,
                    to_function_request(request, values, body),
                    request.headers.get("traceparent"),
                )
        except TooManyRequestsError:
            return _plain(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests are outstanding.")
        except ClientDisconnect:
            return _plain(HTTPStatus.BAD_REQUEST, "The caller left before the body had arrived.")
        except BodyTooLargeError:
            return _plain(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The body may be at most {self._max_body_bytes} bytes.",
            )

    async def _call(
        self, function: AppFunction, request: func.HttpRequest, trace_parent: str | None
    ) -> Response:
        try:
            result = await self._invoker.call(function, request, trace_parent)
            return to_http_response(result)
        except Exception:
            logger.exception("Function %s raised", function.name)
            return _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "The function failed; see its log.")


def _wrong_method(method: str, endpoints: list[Endpoint]) -> Response:
    methods = set[str]().union(*(endpoint.methods for endpoint in endpoints)) | {"OPTIONS"}
    if "GET" in methods:
        methods.add("HEAD")
    allow = {"allow": ", ".join(sorted(methods))}
    if method == "OPTIONS":
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=allow)
    return PlainTextResponse(
        f"Allowed here: {allow['allow']}.", HTTPStatus.METHOD_NOT_ALLOWED, headers=allow
    )


def _plain(status: HTTPStatus, text: str) -> Response:
    return PlainTextResponse(text, status)
