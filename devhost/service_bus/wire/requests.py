"""Requests and responses on the nodes $cbs and $management (AMQP Management, OASIS draft 11)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from devhost.service_bus.wire.decoding import decode, items
from devhost.service_bus.wire.encoding import container, encode
from devhost.service_bus.wire.sections import (
    APPLICATION_PROPERTIES,
    PROPERTIES,
    VALUE,
    section,
    sections,
)
from devhost.service_bus.wire.values import CodecError, Int32, Symbol, Value

_CORRELATION_ID = 5


@dataclass(frozen=True, slots=True)
class Request:
    message_id: bytes
    """Encoded: a response repeats it with its type."""
    operation: str
    body: Value


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    description: str
    body: Value = None
    condition: str | None = None


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a node spells the properties of its responses."""

    status: str
    description: str


CBS = Dialect("status-code", "status-description")
MANAGEMENT = Dialect("statusCode", "statusDescription")


def parse_request(raw: bytes) -> Request:
    """Raises CodecError when the message is not a request."""
    message_id, operation, body = b"\x40", None, None
    for code, _, value, _ in sections(raw):
        if code == PROPERTIES:
            spans, _ = items(raw, value)
            message_id = raw[slice(*spans[0])] if spans else b"\x40"
        elif code == APPLICATION_PROPERTIES:
            properties, _ = decode(raw, value)
            operation = properties.get("operation") if isinstance(properties, Mapping) else None
        elif code == VALUE:
            body, _ = decode(raw, value)
    if not isinstance(operation, str):
        raise CodecError("The request names no operation.")
    return Request(message_id, operation, body)


def encode_response(request: Request, response: Response, dialect: Dialect) -> bytes:
    outcome: dict[Value, Value] = {
        dialect.status: Int32(response.status),
        dialect.description: response.description,
    }
    if response.condition is not None:
        outcome["errorCondition"] = Symbol(response.condition)
    properties = container(
        0xD0, _CORRELATION_ID + 1, b"\x40" * _CORRELATION_ID + request.message_id
    )
    return (
        section(PROPERTIES, properties)
        + section(APPLICATION_PROPERTIES, encode(outcome))
        + section(VALUE, encode(response.body))
    )
