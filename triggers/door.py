"""What every HTTP door does alike: read a body, answer JSON, turn errors into problem details."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Coroutine
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, cast
from urllib.parse import urlsplit

import azure.functions as func
from pydantic import BaseModel, ValidationError

from contracts.errors import InvalidRequest, PayloadTooLarge, SluiceError
from contracts.problems import PROBLEM_MEDIA_TYPE, FieldProblem

_log = logging.getLogger("sluice.triggers")

RETRY_AFTER_SECONDS = 5
"""What a caller is told to wait when the service is not ready and cannot say for how long."""


type Handler[**P] = Callable[
    Concatenate[func.HttpRequest, P], Coroutine[Any, Any, func.HttpResponse]
]


def door[**P](handler: Handler[P]) -> Handler[P]:
    """Answer the handler's errors as problem details (RFC 9457); log what is not the caller's."""

    @wraps(handler)
    async def answer(req: func.HttpRequest, *args: P.args, **kwargs: P.kwargs) -> func.HttpResponse:
        try:
            return await handler(req, *args, **kwargs)
        except SluiceError as error:
            if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                _log.error("%s %s: %s", req.method, urlsplit(req.url).path, error.detail)
            return problem_response(req, error)
        except Exception as error:  # noqa: BLE001 - the last line of defence, logged
            _log_unexpected(req, error)
            return problem_response(
                req,
                SluiceError(
                    "A fault in the service. It was logged; try again, and tell the operator"
                    " if it lasts."
                ),
            )

    # Concatenate means a nameless parameter, but the Functions worker passes `req` by name.
    return cast(Handler[P], answer)


def _log_unexpected(req: func.HttpRequest, error: BaseException) -> None:
    # Without the message: that of a validation error, for one, quotes the prompt.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _log.error(
        "%s %s: unexpected %s\n%s", req.method, urlsplit(req.url).path, type(error).__name__, frames
    )


def problem_response(req: func.HttpRequest, error: SluiceError) -> func.HttpResponse:
    """The error as an application/problem+json response."""
    problem = error.problem(instance=urlsplit(req.url).path)
    headers = {}
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    return func.HttpResponse(
        problem.model_dump_json(exclude_none=True),
        status_code=int(error.status),
        mimetype=PROBLEM_MEDIA_TYPE,
        headers=headers,
    )


def json_response(
    body: BaseModel, status: HTTPStatus = HTTPStatus.OK, headers: dict[str, str] | None = None
) -> func.HttpResponse:
    """A model as an application/json response."""
    return func.HttpResponse(
        body.model_dump_json(),
        status_code=int(status),
        mimetype="application/json",
        headers=headers or {},
    )


def read_json[M: BaseModel](req: func.HttpRequest, model: type[M], most_bytes: int) -> M:
    """The body as this model. Raises PayloadTooLarge, or InvalidRequest naming each field."""
    body = req.get_body()
    if len(body) > most_bytes:
        raise PayloadTooLarge(
            f"The body has {len(body):,} bytes; at most {most_bytes:,} are taken."
        )
    return parse_json(body, model)


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


def query_int(req: func.HttpRequest, name: str, *, default: int, least: int, most: int) -> int:
    """A whole number of the query. Raises InvalidRequest when it is not one within the bounds."""
    text = req.params.get(name)
    if text is None:
        return default
    expected = f"a whole number from {least} to {most}"
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise InvalidRequest(
        f"`{name}` is not as expected: {expected}.", [FieldProblem(field=name, expected=expected)]
    )
