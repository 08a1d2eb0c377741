"""JSON bodies, in and out, held to RFC 8259."""

from __future__ import annotations

import json
from typing import NoReturn, cast

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from contracts.errors import InvalidRequest


class NotJson(ValueError):
    """The bytes are not a JSON document."""


def encode(payload: JsonValue) -> bytes:
    """A request body. Raises InvalidRequest for NaN and infinities, which JSON cannot carry."""
    try:
        body = to_json(payload, inf_nan_mode="constants")
    except ValueError:
        return _escaped(payload)
    if b"NaN" in body or b"Infinity" in body:  # as a number, or in a text
        return _escaped(payload)
    return body


def _escaped(payload: JsonValue) -> bytes:
    """With non-ASCII escaped: half a surrogate pair, which JSON may carry and UTF-8 may not, then
    passes through unharmed."""
    try:
        return _encoder.encode(payload).encode("ascii")
    except ValueError as error:
        raise InvalidRequest("The payload holds a number that JSON cannot carry.") from error


def decode(body: bytes) -> JsonValue:
    """A response body. Raises NotJson, also for NaN and for nesting beyond reason."""
    try:
        return cast(JsonValue, from_json(body, allow_inf_nan=False, cache_strings="keys"))
    except ValueError:
        pass  # half a surrogate pair, a byte order mark, deep nesting: the other one takes it
    try:
        return cast(JsonValue, _decoder.decode(body.decode().removeprefix("\ufeff")))
    except (ValueError, RecursionError):
        raise NotJson from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


# Made once: json.dumps and json.loads make one for each call that deviates from their defaults.
_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_decoder = json.JSONDecoder(parse_constant=_refuse)
