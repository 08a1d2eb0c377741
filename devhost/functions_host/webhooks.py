"""The durable HTTP API under /runtime/webhooks/durabletask, as one Starlette endpoint."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Protocol

import grpc
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from devhost.functions_host.durable_binding import WEBHOOK_PATH
from devhost.functions_host.http_messages import BodyTooLargeError
from devhost.functions_host.instance_json import QueryError
from devhost.functions_host.instance_operations import Handler, RefusedError
from devhost.functions_host.keys import Access, Keys, presented_key
from devhost.functions_host.routes import compile_route, split_path

logger = logging.getLogger("sluice.functions_host")

_STATUS_OF_ERROR = {
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.PRECONDITION_FAILED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
}


class Operations(Protocol):
    """Some operations of the API."""

    def table(self) -> list[tuple[str, str, Handler]]:
        """Method, route template below the API's root, and handler of each."""
        ...


class DurableWebhooks:
    """Checks the system key, finds the operation and answers for what goes wrong in it."""

    def __init__(self, operations: Iterable[Operations], keys: Keys | None) -> None:
        self._keys = keys
        self._operations = [
            (method, compile_route(f"{WEBHOOK_PATH}/{template}"), handle)
            for each in operations
            for method, template, handle in each.table()
        ]

    async def __call__(self, request: Request) -> Response:
        key = presented_key(request.headers, request.query_params)
        if self._keys is not None and not self._keys.permit(Access.SYSTEM, key):
            return PlainTextResponse("The system key is needed.", HTTPStatus.UNAUTHORIZED)
        path = split_path(request.scope["raw_path"].decode("latin-1"))
        for method, route, handle in self._operations:
            values = route.match(path)
            if method == request.method and values is not None:
                return await _answer(handle, request, values)
        return PlainTextResponse("No such operation.", HTTPStatus.NOT_FOUND)


async def _answer(handle: Handler, request: Request, values: Mapping[str, str]) -> Response:
    try:
        return await handle(request, values)
    except RefusedError as error:
        return PlainTextResponse(error.text, error.status)
    except BodyTooLargeError:
        return PlainTextResponse("The body is too large.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except QueryError as error:
        return PlainTextResponse(str(error), HTTPStatus.BAD_REQUEST)
    except grpc.aio.AioRpcError as error:
        status = _STATUS_OF_ERROR.get(error.code(), HTTPStatus.INTERNAL_SERVER_ERROR)
        logger.warning("The task hub refused: %s: %s", error.code().name, error.details())
        return PlainTextResponse(f"The task hub refused: {error.code().name}.", status)
