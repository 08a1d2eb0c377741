"""The host's web application: the admin API, the durable webhooks, and the app's functions."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from devhost.functions_host.admin import Admin
from devhost.functions_host.durable_binding import WEBHOOK_PATH
from devhost.functions_host.http_trigger import HttpTriggers
from devhost.functions_host.webhooks import DurableWebhooks


@dataclass(frozen=True, slots=True)
class Web:
    """An ASGI application. The routes of functions are matched by `HttpTriggers` itself."""

    triggers: HttpTriggers
    webhooks: DurableWebhooks
    admin: Admin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> Response:
        path: str = request.scope["path"]
        if path.startswith(f"{WEBHOOK_PATH}/"):
            return await self.webhooks(request)
        if path.startswith("/admin/"):
            return await self._administer(request, path)
        return await self.triggers(request)

    async def _administer(self, request: Request, path: str) -> Response:
        match request.method, path:
            case "GET", "/admin/host/status":
                return await self.admin.host_status(request)
            case "GET", "/admin/functions":
                return await self.admin.functions(request)
            case _:
                return PlainTextResponse("No such operation.", HTTPStatus.NOT_FOUND)
