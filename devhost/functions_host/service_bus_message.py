"""A received message as a function sees it: made by the same converter as in the worker."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import azure.functions as func
from azure.functions.meta import Datum
from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.amqp import AmqpMessageBodyType

from devhost.functions_host.json_config import Json
from devhost.functions_host.service_bus_triggers import SERVICE_BUS_TRIGGER

_TRACE_PROPERTIES = ("Diagnostic-Id", "traceparent")


def to_function(message: ServiceBusReceivedMessage) -> func.ServiceBusMessage:
    """The trigger's value. Raises ValueError for a body that is neither bytes nor text."""
    converter = func.get_binding_registry().get(SERVICE_BUS_TRIGGER)  # type: ignore[no-untyped-call]
    return cast(
        func.ServiceBusMessage,
        converter.decode(Datum(_body(message), "bytes"), trigger_metadata=_metadata(message)),
    )


def trace_parent(message: ServiceBusReceivedMessage) -> str | None:
    """The W3C trace context that the producer's SDK put on the message, if it did."""
    properties = _properties(message)
    for name in _TRACE_PROPERTIES:
        if isinstance(value := properties.get(name), str):
            return value
    return None


def delivery_count(message: ServiceBusReceivedMessage) -> int:
    """How many times the message was delivered, this time included.

    AMQP's header, and so the Python SDK, counts the deliveries before this one: 0 at first. The
    SDK inside the Functions host counts the present one as well, and the host passes that on.
    """
    return (message.delivery_count or 0) + 1


def _body(message: ServiceBusReceivedMessage) -> bytes:
    if message.body_type is AmqpMessageBodyType.DATA:
        return b"".join(cast(Iterable[bytes], message.body))
    if message.body is None:
        return b""  # sent without a body
    if isinstance(message.body, bytes):
        return message.body
    if isinstance(message.body, str):
        return message.body.encode()
    raise ValueError(f"an AMQP body of kind {message.body_type.name.lower()} is not served here")


def _metadata(message: ServiceBusReceivedMessage) -> dict[str, Datum]:
    """The binding data of a Service Bus trigger, by the host's names."""
    properties = _properties(message)
    fields: dict[str, object] = {
        "ContentType": message.content_type,
        "CorrelationId": message.correlation_id,
        "DeadLetterErrorDescription": message.dead_letter_error_description,
        "DeadLetterReason": message.dead_letter_reason,
        "DeadLetterSource": message.dead_letter_source,
        "DeliveryCount": delivery_count(message),
        "EnqueuedSequenceNumber": message.enqueued_sequence_number,
        "EnqueuedTimeUtc": message.enqueued_time_utc,
        "ExpiresAtUtc": _expires_at(message),
        "Label": message.subject,
        "LockedUntil": message.locked_until_utc,
        "LockToken": message.lock_token,
        "MessageId": message.message_id,
        "PartitionKey": message.partition_key,
        "ReplyTo": message.reply_to,
        "ReplyToSessionId": message.reply_to_session_id,
        "ScheduledEnqueueTimeUtc": message.scheduled_enqueue_time_utc,
        "SequenceNumber": message.sequence_number,
        "SessionId": message.session_id,
        "State": int(message.state),
        "Subject": message.subject,
        "TimeToLive": message.time_to_live,
        "To": message.to,
        # Two names for the same: the second is older, and the converter insists on it.
        "ApplicationProperties": properties,
        "UserProperties": properties,
    }
    return {name: _datum(value) for name, value in fields.items() if value is not None}


def _expires_at(message: ServiceBusReceivedMessage) -> datetime | None:
    try:
        return message.expires_at_utc
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)  # lives longer than dates go


def _properties(message: ServiceBusReceivedMessage) -> dict[str, Json]:
    """The application's own properties, whose names and texts arrive as bytes."""
    raw = cast(Mapping[str | bytes, object], message.application_properties or {})
    return {str(_plain(name)): _plain(value) for name, value in raw.items()}


def _plain(value: object) -> Json:
    """A property's value as it survives the way from the host to the worker, which is JSON."""
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            # The converter reads whole seconds, of any number; of hours only up to 23.
            return str(int(value.total_seconds()))
        case _:
            return str(value)


def _datum(value: object) -> Datum:
    match value:
        case dict():
            return Datum(json.dumps(value), "json")
        case int():
            return Datum(value, "int")
        case datetime() | timedelta() | UUID() | bytes():
            return Datum(_plain(value), "string")
        case _:
            return Datum(str(value), "string")
