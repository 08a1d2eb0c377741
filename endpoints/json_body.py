"""JSON bodies, in and out, held to RFC 8259."""

from __future__ import annotations

import json
from typing import NoReturn, cast

from pydantic import JsonValue

from contracts.errors import InvalidRequest


class NotJson(ValueError):
    """The bytes are not a JSON document."""


def encode(payload: JsonValue) -> bytes:
    """A request body. Raises InvalidRequest for NaN and infinities, which JSON cannot carry.

    Non-ASCII is escaped: half a surrogate pair, which JSON may carry and UTF-8 may not, then
    passes through unharmed.
    """
    try:
        return _encoder.encode(payload).encode("ascii")
    except ValueError as error:
        raise InvalidRequest("The payload holds a number that JSON cannot carry.") from error


def decode(body: bytes) -> JsonValue:
    """A response body. Raises NotJson, also for NaN and for nesting beyond reason."""
    try:
        return cast(JsonValue, _decoder.decode(body.decode().removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        raise NotJson from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


# Made once: json.dumps and json.loads make one for each call that deviates from their defaults.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_refuse)
