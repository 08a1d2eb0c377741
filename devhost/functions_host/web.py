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
        path: str = scope["path"]
        if path.startswith(f"{WEBHOOK_PATH}/"):
            response = await self.webhooks(request)
        elif path.startswith("/admin/"):
            response = await self._administer(request, path)
        else:
            await self.triggers(request, send)
            return
        await response(scope, receive, send)

    async def _administer(self, request: Request, path: str) -> Response:
        match request.method, path:
            case "GET", "/admin/host/status":
                return await self.admin.host_status(request)
            case "GET", "/admin/functions":
                return await self.admin.functions(request)
            case _:
                return PlainTextResponse("No such operation.", HTTPStatus.NOT_FOUND)
