"""The vendor's generated messages, imported in this one place, and how they are cut and joined.

A serialized protobuf message is the concatenation of its serialized fields. So the hub keeps
history as the bytes it will send, and a turn is put together without building, copying or
serializing its past events again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf import timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message

__all__ = [
    "SERVICE",
    "activity_item",
    "entity_item",
    "micros",
    "optional_text",
    "optional_timestamp",
    "parse_past_events",
    "past_events",
    "pb",
    "present",
    "text",
    "timestamp",
    "turn_item",
    "wire_status",
]

SERVICE = "TaskHubSidecarService"

_MAX_MICROS = 2**62
"""Times beyond this (146,000 years) would not fit SQLite's integers."""


def _number(message: str, field: str) -> int:
    number: int = pb.DESCRIPTOR.message_types_by_name[message].fields_by_name[field].number
    return number


_PAST = _number("OrchestratorRequest", "pastEvents")
_NEW = _number("OrchestratorRequest", "newEvents")
_TURN = _number("WorkItem", "orchestratorRequest")
_ACTIVITY = _number("WorkItem", "activityRequest")
_ENTITY = _number("WorkItem", "entityRequestV2")


def _field(number: int, payload: bytes) -> bytes:
    """One length-delimited field, as the protobuf encoding defines it."""
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def past_events(events: Iterable[bytes]) -> bytes:
    """Serialized history events as the `pastEvents` of an OrchestratorRequest."""
    return b"".join([_field(_PAST, event) for event in events])


def parse_past_events(history: bytes) -> list[pb.HistoryEvent]:
    """The inverse of `past_events`."""
    return list(pb.OrchestratorRequest.FromString(history).pastEvents)


def turn_item(
    token: str, head: pb.OrchestratorRequest, history: list[bytes], new_events: Iterable[bytes]
) -> bytes:
    """A serialized WorkItem for one turn; `history` holds results of `past_events`."""
    new = b"".join([_field(_NEW, event) for event in new_events])
    return _item(_TURN, b"".join([head.SerializeToString(), *history, new]), token)


def activity_item(token: str, request: bytes) -> bytes:
    """A serialized WorkItem for a serialized ActivityRequest."""
    return _item(_ACTIVITY, request, token)


def entity_item(token: str, request: pb.EntityRequest) -> bytes:
    """A serialized WorkItem for a run of operations on an entity."""
    return _item(_ENTITY, request.SerializeToString(), token)


def _item(number: int, request: bytes, token: str) -> bytes:
    token_part: bytes = pb.WorkItem(completionToken=token).SerializeToString()
    return _field(number, request) + token_part


def text(value: str | None) -> wrappers_pb2.StringValue | None:
    """An optional string as protobuf wraps it."""
    return None if value is None else wrappers_pb2.StringValue(value=value)


def optional_text(message: Message, field: str) -> str | None:
    """The string in a StringValue field; None when the field is absent, "" when it is empty."""
    return getattr(message, field).value if message.HasField(field) else None


def present(message: Message, field: str) -> Any:
    """A submessage, or None when it is absent: copied on, it must not become an empty one."""
    return getattr(message, field) if message.HasField(field) else None


def wire_status(status: int) -> pb.OrchestrationStatus:
    """A status as messages take it: a plain number, whatever the stubs say."""
    return cast("pb.OrchestrationStatus", int(status))


def micros(stamp: timestamp_pb2.Timestamp) -> int:
    """Microseconds since the epoch, cut to what the database can hold."""
    return min(max(stamp.ToMicroseconds(), -_MAX_MICROS), _MAX_MICROS)


def timestamp(moment: int) -> timestamp_pb2.Timestamp:
    """The inverse of `micros`."""
    stamp = timestamp_pb2.Timestamp()
    stamp.FromMicroseconds(moment)
    return stamp


def optional_timestamp(moment: int | None) -> timestamp_pb2.Timestamp | None:
    return None if moment is None else timestamp(moment)
