"""This app's errors as OpenAI error objects: https://platform.openai.com/docs/guides/error-codes.

The SDKs choose their exception by the status, and their users look at `type` and `code`.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.responses import Response

from contracts.errors import NoCapacity, SluiceError
from contracts.openai import error_body
from triggers.door import RETRY_AFTER_SECONDS, Door, Handler, guarded, json_response
from triggers.http import Request


def openai_door[**P](handler: Handler[P]) -> Door[P]:
    """As `door`, with the errors of the OpenAI API."""
    return guarded(handler, error_response)


def error_response(_: Request, error: SluiceError) -> Response:
    return json_response(error_body(error), error.status, _headers(error))


def error_event(error: SluiceError) -> bytes:
    """The error as the last event of a stream that had begun: its status has been sent."""
    return b"data: " + error_body(error).model_dump_json().encode() + b"\n\n"


def _headers(error: SluiceError) -> dict[str, str]:
    """When to come back: in milliseconds too, which the OpenAI SDKs read first."""
    if isinstance(error, NoCapacity):
        seconds = max(0.0, (error.retry_at - datetime.now(UTC)).total_seconds())
        return {
            "Retry-After": str(math.ceil(seconds)),
            "retry-after-ms": str(math.ceil(seconds * 1000)),
        }
    if error.status is HTTPStatus.SERVICE_UNAVAILABLE:
        return {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return {}
