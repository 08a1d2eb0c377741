"""This app's errors as OpenAI error objects: https://platform.openai.com/docs/guides/error-codes.

The SDKs choose their exception by the status, and their users look at `type` and `code`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime

from starlette.responses import Response

from contracts.errors import NoCapacity, QuotaReached, SluiceError
from contracts.identity import Role
from contracts.openai import error_body
from triggers.door import Door, Guard, Handler, error_headers, guarded, json_response
from triggers.http import Request
from triggers.openai.headers import rate_headers


def openai_door(role: Role | None) -> Guard:
    """As `door`, with the errors of the OpenAI API."""

    def guard[**P](handler: Handler[P]) -> Door[P]:
        return guarded(handler, role, error_response)

    return guard


def error_response(_: Request, error: SluiceError) -> Response:
    return json_response(error_body(error), error.status, _headers(error))


def error_event(error: SluiceError) -> bytes:
    """The error as the last event of a stream that had begun: its status has been sent."""
    return b"data: " + error_body(error).model_dump_json().encode() + b"\n\n"


def _headers(error: SluiceError) -> dict[str, str]:
    """When to come back: in milliseconds too, which the OpenAI SDKs read first."""
    headers = error_headers(error)
    if isinstance(error, NoCapacity):
        seconds = max(0.0, (error.retry_at - datetime.now(UTC)).total_seconds())
        headers["retry-after-ms"] = str(math.ceil(seconds * 1000))
    if isinstance(error, QuotaReached):
        headers |= rate_headers(error.standing)
    return headers
