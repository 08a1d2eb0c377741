"""The admin API: what the host is, and which functions it has. Needs the master key."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from http import HTTPStatus
from importlib.metadata import version

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from devhost.functions_host.app_loader import AppFunction
from devhost.functions_host.http_endpoints import Endpoint
from devhost.functions_host.json_config import Json
from devhost.functions_host.keys import Access, Keys, presented_key


class Admin:
    """`GET /admin/host/status` and `GET /admin/functions`."""

    def __init__(
        self,
        functions: Sequence[AppFunction],
        endpoints: Sequence[Endpoint],
        keys: Keys | None,
        url: str,
    ) -> None:
        self._functions = functions
        self._urls = {each.function.name: f"{url}{each.path}" for each in endpoints}
        self._keys = keys
        self._began = time.monotonic()

    async def host_status(self, request: Request) -> Response:
        return self._guarded(
            request,
            {
                "id": "local",
                "state": "Running",
                "version": version("azure-functions"),
                "versionDetails": f"local stand-in, Python {platform.python_version()}",
                "processUptime": int((time.monotonic() - self._began) * 1000),
            },
        )

    async def functions(self, request: Request) -> Response:
        return self._guarded(request, [self._describe(function) for function in self._functions])

    def _describe(self, function: AppFunction) -> Json:
        bindings = [function.trigger, *function.bindings]
        return {
            "name": function.name,
            "language": "python",
            "isDisabled": False,
            "invoke_url_template": self._urls.get(function.name),
            "config": {"bindings": [dict(binding.properties) for binding in bindings]},
        }

    def _guarded(self, request: Request, content: Json) -> Response:
        key = presented_key(request.headers, request.query_params)
        if self._keys is not None and not self._keys.permit(Access.ADMIN, key):
            return PlainTextResponse("The master key is needed.", HTTPStatus.UNAUTHORIZED)
        return JSONResponse(content)
