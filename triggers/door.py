"""What every HTTP door does alike: read a body, answer JSON, turn errors into problem details."""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, Protocol, cast

from pydantic import BaseModel, ValidationError
from starlette.requests import Request as WorkerRequest
from starlette.responses import Response

import wiring
from contracts.errors import (
    Forbidden,
    InvalidRequest,
    Misconfigured,
    NoCapacity,
    SluiceError,
    Unauthenticated,
)
from contracts.identity import Identity, Role
from contracts.problems import PROBLEM_MEDIA_TYPE, FieldProblem
from policies.identity.identities import PLATFORM_KEY, Identities
from telemetry.tracing import Kind, span, tell_status
from triggers import web_extension
from triggers.http import CallerLeft, Request

_log = logging.getLogger("sluice.triggers")

RETRY_AFTER_SECONDS = 5
"""What a caller is told to wait when the service is not ready and cannot say for how long."""


JSON_MEDIA_TYPE = "application/json"
NOBODY_WAITS = 499
"""In place of a status, when the caller has left (as nginx logs it)."""


type Handler[**P] = Callable[Concatenate[Request, P], Coroutine[Any, Any, Response]]
type Door[**P] = Callable[Concatenate[WorkerRequest, P], Coroutine[Any, Any, Response]]
"""A handler as the Functions worker calls it."""
type Tell = Callable[[Request, SluiceError], Response]


class Guard(Protocol):
    """Makes a handler a door."""

    def __call__[**P](self, handler: Handler[P], /) -> Door[P]: ...


def door(role: Role | None) -> Guard:
    """For callers with this role, known to the handler as `req.identity`; None: open to all.

    Errors are answered as problem details (RFC 9457); what is not the caller's is logged.
    """

    def guard[**P](handler: Handler[P]) -> Door[P]:
        return guarded(handler, role, problem_response)

    return guard


def guarded[**P](handler: Handler[P], role: Role | None, tell: Tell) -> Door[P]:
    """The handler as the worker calls it, its errors told by `tell`."""

    name = handler.__name__.replace("_", " ")

    @wraps(handler)
    async def answer(req: WorkerRequest, *args: P.args, **kwargs: P.kwargs) -> Response:
        request = Request(req)
        with span(name, Kind.DOOR, parent=request.headers) as made:
            try:
                if role is not None:
                    request.identity = await _identified(request, role)
                response = await handler(request, *args, **kwargs)
            except CallerLeft:
                response = Response(status_code=NOBODY_WAITS)
            except Exception as error:  # noqa: BLE001 - the last line of defence, logged
                response = tell(request, noted(request, error))
            tell_status(made, response.status_code)
            return response

    # What the worker holds against the kind of app that this is; `wraps` copied the handler's own.
    answer.__annotations__ = handler.__annotations__ | {
        "req": web_extension.HttpRequest.request_type,
        "return": web_extension.HttpResponse.response_type,
    }
    # Concatenate means a nameless parameter, but the worker passes `req` by name.
    return cast(Door[P], answer)


async def _identified(req: Request, role: Role) -> Identity:
    """Who asks. Raises Unauthenticated, or Forbidden for who lacks the role."""
    try:
        parts = wiring.parts()
    except Misconfigured:
        if wiring.knows_tenants():  # then nothing else keeps this from everybody's eyes
            raise Misconfigured("The app is not set up: its log says why.") from None
        raise
    if parts.identities is None:
        return PLATFORM_KEY
    try:
        return await _with_role(parts.identities, req, role)
    except (Unauthenticated, Forbidden) as error:
        parts.refusals.count(error.code)
        raise


async def _with_role(identities: Identities, req: Request, role: Role) -> Identity:
    identity = await identities.identify(req.headers)
    check_role(identity, role)
    return identity


def check_role(identity: Identity, role: Role) -> None:
    """Raises Forbidden."""
    if role not in identity.roles:
        raise Forbidden(f"This takes the role `{role}`, which {identity.subject} does not have.")


def noted(req: Request, error: Exception) -> SluiceError:
    """The error as the caller may see it; what is not the caller's fault is logged."""
    if isinstance(error, SluiceError):
        _log_error(req, error)
        return error
    _log_unexpected(req, error)
    return SluiceError(
        "A fault in the service. It was logged; try again, and tell the operator if it lasts."
    )


def _log_error(req: Request, error: SluiceError) -> None:
    """Log what is not the caller's fault."""
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("%s %s: %s", req.method, req.path, error.detail)


def _log_unexpected(req: Request, error: BaseException) -> None:
    """Log a fault of this app with its place in the code."""
    # Without the message: that of a validation error, for one, quotes the prompt.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error("%s %s: unexpected %s\n%s", req.method, req.path, type(error).__name__, frames)


def problem_response(req: Request, error: SluiceError) -> Response:
    """The error as an application/problem+json response."""
    problem = error.problem(instance=req.path)
    return Response(
        problem.model_dump_json(exclude_none=True),
        int(error.status),
        error_headers(error),
        PROBLEM_MEDIA_TYPE,
    )


def error_headers(error: SluiceError) -> dict[str, str]:
    """What an error says in headers, at every door."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="sluice"'}
    if isinstance(error, NoCapacity):
        seconds = max(0.0, (error.retry_at - datetime.now(UTC)).total_seconds())
        return {"Retry-After": str(math.ceil(seconds))}
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}


def json_response(
    body: BaseModel, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> Response:
    """A model as an application/json response."""
    return Response(body.model_dump_json(), int(status), headers, JSON_MEDIA_TYPE)


async def read_json[M: BaseModel](req: Request, model: type[M], most_bytes: int) -> M:
    """The body as this model. Raises PayloadTooLarge, or InvalidRequest naming each field."""
    return parse_json(await req.body(most_bytes), model)


def parse_json[M: BaseModel](body: bytes, model: type[M]) -> M:
    """JSON text as this model. Raises InvalidRequest naming each field and what was expected."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = [_field_problem(dict(found)) for found in error.errors(include_url=False)]
        raise InvalidRequest(_sentence(problems), problems) from None


def _field_problem(found: dict[str, Any]) -> FieldProblem:
    location = found["loc"]
    if found["type"] == "json_invalid":
        return FieldProblem(field="(body)", expected=f"JSON text; {found['ctx']['error']}")
    expected = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "missing":
        expected = "a value: the field is required"
    elif found["type"] == "extra_forbidden":
        expected = "no such field"
    return FieldProblem(field=".".join(map(str, location)) or "(body)", expected=expected)


def _sentence(problems: list[FieldProblem]) -> str:
    first = problems[0]
    rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"`{first.field}` is not as expected: {first.expected}{rest}."


def query_int(req: Request, name: str, *, default: int, least: int, most: int) -> int:
    """A whole number of the query. Raises InvalidRequest when it is not one within the bounds."""
    text = req.query.get(name)
    if text is None:
        return default
    expected = f"a whole number from {least} to {most}"
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise InvalidRequest(
        f"`{name}` is not as expected: {expected}.", [FieldProblem(field=name, expected=expected)]
    )
