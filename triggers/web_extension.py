"""Has the Functions worker serve HTTP as streams; imported, it does so for the whole app.

The worker runs a web server of its own once a web extension is imported: subclasses of the classes
in `azurefunctions.extensions.base`. The host passes each request on to that server as it arrives,
and tells the worker beside it which function it is for. docs/decisions/0007-http-streams.md says
why this is not the vendor's extension on FastAPI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from azurefunctions.extensions.base import (
    RequestSynchronizer,
    RequestTrackerMeta,
    ResponseLabels,
    ResponseTrackerMeta,
)
from azurefunctions.extensions.base import WebApp as BaseApp
from azurefunctions.extensions.base import WebServer as BaseServer
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

KEEP_ALIVE_SECONDS = 90
"""Longer than the host keeps an idle connection (60 s): else a request may meet the close on its
way, and cannot be repeated once its body has been passed on."""

type Answer = Callable[[Request], Awaitable[Response]]


class RouteParams(RequestSynchronizer):
    def sync_route_params(self, request: Request, path_params: Mapping[str, str]) -> None:
        """Route values come from the host, which has matched the route."""
        request.scope["path_params"] = dict(path_params)


class HttpRequest(metaclass=RequestTrackerMeta):
    """What an HTTP function is given: the worker holds its annotation against this."""

    request_type = Request
    synchronizer = RouteParams()


class HttpResponse(metaclass=ResponseTrackerMeta):
    """What it returns."""

    label = ResponseLabels.STANDARD
    response_type = Response


class WebApp(BaseApp):
    """An ASGI application of one route, which takes every request."""

    def route(self, func: Answer) -> Answer:
        self._answer = func
        return func

    def get_app(self) -> ASGIApp:
        return self

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive))
        await response(scope, receive, send)


class WebServer(BaseServer):
    """Serves it on the address that the worker has told the host."""

    async def serve(self) -> None:
        import uvicorn  # what serves the app without a worker needs none

        config = uvicorn.Config(
            self.web_app,
            host=self.hostname,
            port=self.port,
            lifespan="off",
            ws="none",
            # The host logs each request; a line here would be paid for a second time.
            access_log=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
        )
        await uvicorn.Server(config).serve()
