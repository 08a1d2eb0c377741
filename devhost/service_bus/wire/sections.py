"""AMQP messages as the broker keeps them (OASIS AMQP 1.0, part 3, section 2).

A message is a header and annotations, which belong to the broker, and the bare message
(properties, application properties, body, footer), which belongs to the sender and is kept byte
for byte. The one edit a broker makes to it is the reason of a dead-lettered message, which
Service Bus puts among the application properties.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from uuid import UUID

from devhost.service_bus.wire.decoding import decode, items, pairs, skip
from devhost.service_bus.wire.encoding import container, encode
from devhost.service_bus.wire.values import CodecError, Symbol, Timestamp, Value

HEADER, DELIVERY_ANNOTATIONS, ANNOTATIONS = 0x70, 0x71, 0x72
PROPERTIES, APPLICATION_PROPERTIES = 0x73, 0x74
DATA, SEQUENCE, VALUE, FOOTER = 0x75, 0x76, 0x77, 0x78

SCHEDULED_TIME = "x-opt-scheduled-enqueue-time"
PROPERTY_FIELDS = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "group_id",
    "group_sequence",
    "reply_to_group_id",
)
_MESSAGE_ID, _GROUP_ID = 0, 10
_MAX_UINT = 0xFFFF_FFFF
_SET_BY_BROKER = frozenset(
    {
        "x-opt-enqueued-time",
        "x-opt-sequence-number",
        "x-opt-locked-until",
        "x-opt-message-state",
        "x-opt-enqueue-sequence-number",
        "x-opt-deadletter-source",
    }
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a sender sent, taken apart. Times and durations in milliseconds."""

    bare: bytes
    annotations: bytes
    """Encoded keys and values, without those that the broker sets."""
    annotation_count: int
    durable: bool
    priority: int | None
    ttl: int | None
    scheduled_at: int | None
    message_id: str | None
    session_id: str | None
    size: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """What the broker says of a message when it hands it out. Times in milliseconds, UTC."""

    delivery_count: int
    sequence: int
    enqueued_at: int
    state: int
    ttl: int | None
    locked_until: int | None
    enqueued_sequence: int | None
    dead_letter_source: str | None


@dataclass(frozen=True, slots=True)
class Readable:
    """What a filter may look at."""

    system: Mapping[str, Value] = field(default_factory=dict)
    """By the names of `PROPERTY_FIELDS`; missing when the sender set none."""
    user: Mapping[str, Value] = field(default_factory=dict)


def sections(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Each (code, start of the section, start of its value, end). Raises CodecError."""
    at = 0
    previous = HEADER
    while at < len(raw):
        if raw[at : at + 2] == b"\x00\x53" and at + 2 < len(raw):
            code, value = raw[at + 2], at + 3
        elif raw[at : at + 2] == b"\x00\x80":
            code, value = int.from_bytes(raw[at + 2 : at + 10]), at + 10
        else:
            raise CodecError("A message section has no descriptor.")
        if not previous <= code <= FOOTER:
            raise CodecError("The sections of a message are unknown or out of order.")
        end = skip(raw, value)
        yield code, at, value, end
        previous, at = code, end


def parse(raw: bytes) -> Envelope:
    """A sender's message taken apart. Raises CodecError when it is not well formed."""
    durable, priority, ttl = False, None, None
    annotations, count, scheduled_at = b"", 0, None
    message_id = session_id = None
    bare_from = len(raw)
    for code, start, value, _ in sections(raw):
        if code >= PROPERTIES:
            bare_from = min(bare_from, start)
        if code == HEADER:
            durable, priority, ttl = _header(raw, value)
        elif code == ANNOTATIONS:
            annotations, count, scheduled_at = _annotations(raw, value)
        elif code == PROPERTIES:
            spans, _ = items(raw, value)
            decode(raw, value)  # whatever is read of it later is known to be well formed
            message_id = _text(raw, spans, _MESSAGE_ID)
            session_id = _text(raw, spans, _GROUP_ID)
        elif code == APPLICATION_PROPERTIES:
            _typed(decode(raw, value)[0], dict, "The section of application properties")
    return Envelope(
        bare=raw[bare_from:],
        annotations=annotations,
        annotation_count=count,
        durable=durable,
        priority=priority,
        ttl=ttl,
        scheduled_at=scheduled_at,
        message_id=message_id,
        session_id=session_id,
        size=len(raw),
    )


def split_batch(raw: bytes) -> list[bytes]:
    """The encoded messages of a batch (message format 0x80013700): one in each data section."""
    return [
        bytes(_typed(decode(raw, value)[0], bytes, "A batch holds a data section that"))
        for code, _, value, _ in sections(raw)
        if code == DATA
    ]


def compose(envelope: Envelope, stamp: Stamp) -> bytes:
    """The message as a receiver gets it: header and annotations anew, the rest as it was sent."""
    header = b"".join(
        (
            encode(envelope.durable),
            b"\x40" if envelope.priority is None else bytes((0x50, envelope.priority)),
            b"\x40" if stamp.ttl is None or stamp.ttl > _MAX_UINT else _uint(stamp.ttl),
            b"\x40",  # first-acquirer
            _uint(stamp.delivery_count),
        )
    )
    own = (
        _ENQUEUED + stamp.enqueued_at.to_bytes(8)
        + _SEQUENCE + stamp.sequence.to_bytes(8)
        + _STATE + stamp.state.to_bytes(4)
    )  # fmt: skip
    count = envelope.annotation_count + 3
    if stamp.locked_until is not None:
        own += _LOCKED_UNTIL + stamp.locked_until.to_bytes(8)
        count += 1
    if stamp.enqueued_sequence is not None:
        own += _ENQUEUED_SEQUENCE + stamp.enqueued_sequence.to_bytes(8)
        count += 1
    if stamp.dead_letter_source is not None:
        own += _SOURCE + encode(stamp.dead_letter_source)
        count += 1
    annotations = container(0xD1, 2 * count, envelope.annotations + own)
    return (
        _SECTION[HEADER] + container(0xD0, 5, header)
        + _SECTION[ANNOTATIONS] + annotations
        + envelope.bare
    )  # fmt: skip


def readable(bare: bytes) -> Readable:
    """The properties of a bare message, decoded for filters."""
    system: dict[str, Value] = {}
    user: dict[str, Value] = {}
    for code, _, value, _ in sections(bare):
        if code == PROPERTIES:
            spans, _ = items(bare, value)
            for name, (start, _) in zip(PROPERTY_FIELDS, spans, strict=False):
                if (found := decode(bare, start)[0]) is not None:
                    system[name] = found
        elif code == APPLICATION_PROPERTIES:
            for key, _, start, _ in pairs(bare, value):
                user[str(key)] = decode(bare, start)[0]
    return Readable(system, user)


def with_properties(bare: bytes, updates: Mapping[str, Value]) -> bytes:
    """The bare message with these application properties set; everything else untouched."""
    if not updates:
        return bare
    kept, count, start, end = b"", 0, 0, 0
    for code, section_start, value, section_end in sections(bare):
        if code == PROPERTIES:
            start = end = section_end
        elif code == APPLICATION_PROPERTIES:
            start, end = section_start, section_end
            for key, key_start, _, value_end in pairs(bare, value):
                if key not in updates:
                    kept += bare[key_start:value_end]
                    count += 1
    added = b"".join(encode(key) + encode(value) for key, value in updates.items())
    properties = container(0xD1, 2 * (count + len(updates)), kept + added)
    return bare[:start] + _SECTION[APPLICATION_PROPERTIES] + properties + bare[end:]


def section(code: int, encoded: bytes) -> bytes:
    """An encoded value as a section of a message."""
    return _SECTION[code] + encoded


def _header(raw: bytes, at: int) -> tuple[bool, int | None, int | None]:
    spans, _ = items(raw, at)
    values = [decode(raw, start)[0] for start, _ in spans[:3]] + [None] * 3
    durable, priority, ttl = values[:3]
    if priority is not None and not (isinstance(priority, int) and 0 <= priority <= 255):
        raise CodecError("The header's priority is not a ubyte.")
    if ttl is not None and not (isinstance(ttl, int) and 0 <= ttl <= _MAX_UINT):
        raise CodecError("The header's ttl is not a uint.")
    return durable is True, priority, ttl


def _annotations(raw: bytes, at: int) -> tuple[bytes, int, int | None]:
    kept: list[bytes] = []
    scheduled_at = None
    for key, key_start, value_start, value_end in pairs(raw, at):
        if key in _SET_BY_BROKER:
            continue
        kept.append(raw[key_start:value_end])
        if key == SCHEDULED_TIME:
            due = decode(raw, value_start)[0]
            scheduled_at = None if due is None else _typed(due, int, f"The annotation {key}")
    return b"".join(kept), len(kept), scheduled_at


def _text(raw: bytes, spans: list[tuple[int, int]], index: int) -> str | None:
    """A property as text. Message ids may be ulong, uuid, binary or string (part 3, 3.2.11)."""
    if index >= len(spans):
        return None
    value, _ = decode(raw, spans[index][0])
    if isinstance(value, bytes):
        return value.hex()
    if value is None or isinstance(value, str | int | UUID):
        return None if value is None else str(value)
    raise CodecError(f"The property {PROPERTY_FIELDS[index]} is neither text, number nor uuid.")


def _typed[T](value: Value, kind: type[T], what: str) -> T:
    if not isinstance(value, kind):
        raise CodecError(f"{what} is not of type {kind.__name__}.")
    return value


def _uint(number: int) -> bytes:
    return bytes((0x52, number)) if number < 256 else b"\x70" + number.to_bytes(4)


_SECTION = {code: bytes((0x00, 0x53, code)) for code in range(HEADER, FOOTER + 1)}
_ENQUEUED = encode(Symbol("x-opt-enqueued-time")) + encode(Timestamp(0))[:1]
_LOCKED_UNTIL = encode(Symbol("x-opt-locked-until")) + encode(Timestamp(0))[:1]
_SEQUENCE = encode(Symbol("x-opt-sequence-number")) + b"\x81"
_ENQUEUED_SEQUENCE = encode(Symbol("x-opt-enqueue-sequence-number")) + b"\x81"
_STATE = encode(Symbol("x-opt-message-state")) + b"\x71"
_SOURCE = encode(Symbol("x-opt-deadletter-source"))
