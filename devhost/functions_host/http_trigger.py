"""Serves HTTP triggers: finds the function, checks the key and the limits, has it answer."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Send

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.host_json import HttpConfig
from devhost.functions_host.http_endpoints import Endpoint
from devhost.functions_host.keys import Keys, presented_key
from devhost.functions_host.request_limits import RequestLimits, TooManyRequestsError
from devhost.functions_host.routes import split_path

_REMEMBERED = 256
"""Paths whose functions are remembered: most requests are for few of them."""


class Serving(Protocol):
    """How the app's functions are given requests: whole, or as streams."""

    async def __call__(
        self, function: AppFunction, route_values: dict[str, str], request: Request, send: Send
    ) -> None:
        """Have the function answer; whatever it raises is answered and logged."""
        ...


class HttpTriggers:
    """All HTTP functions of the app, as one ASGI endpoint."""

    def __init__(
        self, endpoints: list[Endpoint], serving: Serving, keys: Keys | None, config: HttpConfig
    ) -> None:
        self.endpoints = endpoints
        self._serving = serving
        self._keys = keys
        self._limits = RequestLimits(config)
        self._matches = lru_cache(_REMEMBERED)(self._matching)

    async def __call__(self, request: Request, send: Send) -> None:
        found = self._find(request)
        if isinstance(found, Response):
            await found(request.scope, request.receive, send)
            return
        endpoint, route_values = found
        try:
            async with self._limits.slot():
                await self._serving(endpoint.function, route_values, request, send)
        except TooManyRequestsError:
            refusal = _plain(HTTPStatus.TOO_MANY_REQUESTS, "Too many requests are outstanding.")
            await refusal(request.scope, request.receive, send)

    def _find(self, request: Request) -> tuple[Endpoint, dict[str, str]] | Response:
        """The function that the request may have, with its route values; else a refusal."""
        matches = self._matches(request.scope["raw_path"])
        if not matches:
            return _plain(HTTPStatus.NOT_FOUND, "No function has this route.")
        for endpoint, values in matches:
            if endpoint.allows(request.method):
                key = presented_key(request.headers, request.query_params)
                if self._keys is not None and not self._keys.permit(endpoint.access, key):
                    return _plain(HTTPStatus.UNAUTHORIZED, "This function needs its key.")
                return endpoint, dict(values)
        return _wrong_method(request.method, [endpoint for endpoint, _ in matches])

    def _matching(self, raw_path: bytes) -> list[tuple[Endpoint, dict[str, str]]]:
        path = split_path(raw_path.decode("latin-1"))
        return [
            (endpoint, values)
            for endpoint in self.endpoints
            if (values := endpoint.route.match(path)) is not None
        ]


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
