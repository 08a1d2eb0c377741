"""HTTP requests and responses, to and from what functions take and return."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import azure.functions as func
from azure.functions.http import HttpRequest as WorkerRequest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

MAX_BODY_BYTES = 100 * 1024 * 1024
"""Azure's limit of a request body, which FUNCTIONS_REQUEST_BODY_SIZE_LIMIT changes."""

# Set by the server itself, from the body that it sends.
_FRAMING = {"content-length", "transfer-encoding", "connection"}
_WITHOUT_BODY = {204, 304}


class BodyTooLargeError(Exception):
    """The request's body is larger than allowed."""


def too_large(limit: int) -> Response:
    return PlainTextResponse(
        f"The body may be at most {limit} bytes.", HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    )


def announced_bytes(request: Request) -> int:
    """How long the body will be; 0 when that is not said."""
    announced = request.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else 0


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body. Raises BodyTooLargeError as soon as more than `limit` bytes are there."""
    if announced_bytes(request) > limit:
        raise BodyTooLargeError
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise BodyTooLargeError
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def to_function_request(
    request: Request, route_values: Mapping[str, str], body: bytes
) -> func.HttpRequest:
    """The request as the worker would make it; repeated headers and parameters are joined."""
    return WorkerRequest(
        method=request.method,
        url=str(request.url),
        headers=_joined(request.headers.items()),
        params=_joined(request.query_params.multi_items()),
        route_params=route_values,
        body_type="bytes",
        body=body,
    )


def _joined(pairs: list[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        separator = "; " if name == "cookie" else ","
        joined[name] = f"{joined[name]}{separator}{value}" if name in joined else value
    return joined


def to_http_response(result: object) -> Response:
    """What a function returned, as a response. Raises TypeError for what cannot be one.

    Nothing is 204 and a string is text, as the Functions host has it.
    """
    if result is None:
        return Response(status_code=204)
    if isinstance(result, str):
        return Response(result, media_type="text/plain")
    if not isinstance(result, func.HttpResponse):
        raise TypeError(
            f"an HTTP function must return HttpResponse, str or None, not {type(result).__name__}"
        )
    body = b"" if result.status_code in _WITHOUT_BODY else result.get_body()
    response = Response(body, status_code=result.status_code)
    for name, value in result.headers.items():
        if name.lower() not in _FRAMING:
            response.raw_headers.append((name.lower().encode("latin-1"), value.encode("latin-1")))
    if "content-type" not in result.headers:
        response.raw_headers.append((b"content-type", _content_type(result).encode("latin-1")))
    return response


def _content_type(response: func.HttpResponse) -> str:
    if response.mimetype.startswith("text/"):
        return f"{response.mimetype}; charset={response.charset}"
    return str(response.mimetype)
