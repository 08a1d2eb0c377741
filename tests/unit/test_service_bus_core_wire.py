"""Values, messages and frames as bytes, checked against the SDK's and proton's own codecs."""

from __future__ import annotations

import datetime
import struct
import uuid

import pytest
from azure.servicebus._pyamqp._decode import decode_payload
from azure.servicebus._pyamqp._encode import encode_payload
from azure.servicebus._pyamqp.message import BatchMessage, Header, Message, Properties
from hypothesis import given
from hypothesis import strategies as st
from proton import Data, symbol, timestamp

from devhost.service_bus.wire.decoding import decode, skip
from devhost.service_bus.wire.encoding import encode
from devhost.service_bus.wire.frames import BATCH_FORMAT, Frames
from devhost.service_bus.wire.sections import (
    Stamp,
    compose,
    parse,
    readable,
    split_batch,
    with_properties,
)
from devhost.service_bus.wire.values import Array, CodecError, Described, Int32, Symbol, Timestamp

SASL_INIT = b"\x00\x53\x41"
STAMP = Stamp(
    delivery_count=3,
    sequence=7,
    enqueued_at=1_700_000_000_000,
    state=0,
    ttl=60_000,
    locked_until=1_700_000_060_000,
    enqueued_sequence=5,
    dead_letter_source="orders",
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def sdk_encoded(message: Message) -> bytes:
    return bytes(encode_payload(bytearray(), message))


@given(values)
def test_a_value_comes_back_as_it_was_and_ends_where_skip_says(value: object) -> None:
    raw = encode(value)  # type: ignore[arg-type]
    assert decode(raw + b"rest") == (value, len(raw))
    assert skip(raw + b"rest", 0) == len(raw)


@given(values)
def test_proton_reads_what_we_write(value: object) -> None:
    data = Data()
    raw = encode(value)  # type: ignore[arg-type]
    assert data.decode(raw) == len(raw)
    data.rewind()
    data.next()
    assert _plain(data.get_object()) == value


def test_typed_values_keep_their_types_for_proton() -> None:
    token = uuid.uuid4()
    data = Data()
    data.decode(
        encode(
            {
                Symbol("a"): Timestamp(5),
                Symbol("b"): Array([token]),
                Symbol("c"): Array(["x", "y" * 300]),
                Symbol("d"): Int32(-1),
                Symbol("e"): Array([]),
            }
        )
    )
    data.rewind()
    data.next()
    read = data.get_object()
    assert isinstance(read[symbol("a")], timestamp)
    assert list(read[symbol("b")].elements) == [token]
    assert list(read[symbol("c")].elements) == ["x", "y" * 300]
    assert read[symbol("d")] == -1


def test_compact_and_described_forms_are_read() -> None:
    assert decode(b"\x54\xff") == (-1, 2)
    assert decode(b"\x00\x53\x70\x45") == (Described(0x70, ()), 4)
    assert decode(b"\xe0\x04\x02\x50\x01\x02") == ([1, 2], 6)
    assert decode(b"\x72" + struct.pack(">f", 1.5)) == (1.5, 5)


@given(st.binary(max_size=200))
def test_garbage_is_read_or_refused_and_never_anything_else(garbage: bytes) -> None:
    for read in (lambda: decode(garbage), lambda: parse(garbage), lambda: split_batch(garbage)):
        try:
            read()
        except CodecError:
            continue


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(CodecError, match="nested"):
        decode(b"\x00" * 10_000 + b"\x40")
    deep: object = None
    for _ in range(100):
        deep = [deep]
    with pytest.raises(CodecError, match="nested"):
        decode(encode(deep))  # type: ignore[arg-type]


def test_an_array_that_claims_more_than_it_has_is_refused_at_once() -> None:
    with pytest.raises(CodecError):
        decode(b"\xf0" + struct.pack(">II", 5, 2**31) + b"\x40")


def test_what_the_broker_needs_is_read_from_the_sdks_message() -> None:
    due = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    raw = sdk_encoded(
        Message(
            header=Header(ttl=5000, durable=True, priority=6),
            message_annotations={"x-opt-scheduled-enqueue-time": due, "mine": 1},
            properties=Properties(message_id="m1", group_id="s1", subject="paint"),
            application_properties={"colour": "red", "size": 3},
            data=[b"body"],
        )
    )
    envelope = parse(raw)

    assert (envelope.message_id, envelope.session_id, envelope.ttl) == ("m1", "s1", 5000)
    assert envelope.scheduled_at == int(due.timestamp() * 1000)
    message = readable(envelope.bare)
    assert message.system["subject"] == "paint"
    assert message.user == {"colour": "red", "size": 3}


def test_a_composed_message_keeps_the_bare_message_byte_for_byte() -> None:
    original = Message(
        header=Header(priority=6, ttl=5000),
        message_annotations={"mine": "x", "x-opt-sequence-number": 99},
        properties=Properties(message_id=b"\x00\xff", user_id=b"me"),
        application_properties={"n": 1},
        data=[b"\x00\xff" * 100, b"second"],
        footer={"f": "g"},
    )
    envelope = parse(sdk_encoded(original))
    raw = compose(envelope, STAMP)
    received = decode_payload(memoryview(raw))

    assert raw.endswith(envelope.bare)
    assert received.data == original.data
    assert received.footer == {b"f": b"g"}
    assert (received.header.delivery_count, received.header.ttl) == (3, 60_000)
    assert received.header.priority == 6
    assert received.message_annotations == {
        b"mine": b"x",
        b"x-opt-sequence-number": 7,
        b"x-opt-enqueued-time": STAMP.enqueued_at,
        b"x-opt-locked-until": STAMP.locked_until,
        b"x-opt-message-state": 0,
        b"x-opt-enqueue-sequence-number": 5,
        b"x-opt-deadletter-source": b"orders",
    }


@pytest.mark.parametrize("user", [None, {"DeadLetterReason": "old", "n": 1}])
def test_properties_are_set_without_touching_anything_else(user: dict[str, object] | None) -> None:
    original = Message(
        properties=Properties(message_id="m"), application_properties=user, data=[b"body"]
    )
    bare = with_properties(parse(sdk_encoded(original)).bare, {"DeadLetterReason": "new"})

    received = decode_payload(memoryview(bare))
    assert received.data == [b"body"]
    assert received.properties.message_id == b"m"
    expected = {b"DeadLetterReason": b"new"} | ({b"n": 1} if user else {})
    assert received.application_properties == expected


def test_a_batch_is_split_into_its_messages() -> None:
    messages = [sdk_encoded(Message(data=[f"{n}".encode()])) for n in range(3)]
    assert split_batch(sdk_encoded(BatchMessage(data=messages))) == messages


def transfer(handle: int, message_format: int, *, more: bool = False) -> bytes:
    fields = [
        b"\x52" + bytes([handle]),
        b"\x43",  # delivery-id
        b"\xa0\x01x",  # delivery-tag
        b"\x70" + message_format.to_bytes(4),
        b"\x42",  # settled
        b"\x41" if more else b"\x42",
    ]
    body = b"".join(fields)
    return frame(b"\x00\x53\x14\xc0" + bytes([len(body) + 1, 6]) + body + b"payload" * 300)


def attach(name: str, handle: int, *, is_receiver: bool = False) -> bytes:
    body = encode(name) + b"\x52" + bytes([handle]) + (b"\x41" if is_receiver else b"\x42")
    return frame(b"\x00\x53\x12\xc0" + bytes([len(body) + 1, 3]) + body)


def frame(body: bytes, kind: int = 0) -> bytes:
    return struct.pack(">IBBH", len(body) + 8, 2, kind, 0) + body


@given(st.lists(st.integers(1, 700), max_size=60))
def test_the_format_of_each_delivery_is_found_however_the_bytes_arrive(cuts: list[int]) -> None:
    stream = (
        b"AMQP\x03\x01\x00\x00"
        + frame(SASL_INIT + encode([Symbol("ANONYMOUS")]), kind=1)
        + b"AMQP\x00\x01\x00\x00"
        + attach("a", 0)
        + attach("b", 1)
        + attach("a", 2, is_receiver=True)  # names are unique in one direction only
        + transfer(0, 0)
        + transfer(1, BATCH_FORMAT, more=True)
        + transfer(0, BATCH_FORMAT)
        + transfer(1, BATCH_FORMAT)
        + transfer(1, 0)
    )
    frames = Frames()
    at, passed_on = 0, b""
    for cut in [*cuts, len(stream)]:
        passed_on += frames.feed(stream[at : at + cut])
        at += cut

    assert passed_on == stream
    assert [frames.next_format("a"), frames.next_format("a")] == [0, BATCH_FORMAT]
    assert [frames.next_format("b"), frames.next_format("b")] == [BATCH_FORMAT, 0]


@given(st.binary(min_size=1, max_size=100))
def test_a_frame_that_is_garbage_is_not_passed_on(garbage: bytes) -> None:
    frames = Frames()
    good = b"AMQP\x00\x01\x00\x00" + frame(b"")
    assert frames.feed(good) == good
    try:
        passed_on = frames.feed(frame(garbage))
    except CodecError:
        return
    assert passed_on == frame(garbage)
    assert skip(garbage, 0) <= len(garbage)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        (b"\xc0\x0c\x01\xa3\xceANONYMOUS", "end inside"),
        (encode([None]), "does not name a mechanism"),
        (encode([]), "does not name a mechanism"),
    ],
)
def test_what_would_crash_proton_is_refused(fields: bytes, why: str) -> None:
    """Found by changing bytes and types of a real conversation at random."""
    with pytest.raises(CodecError, match=why):
        Frames().feed(frame(SASL_INIT + fields, kind=1))


def test_a_frame_that_claims_to_be_huge_is_refused_at_once() -> None:
    with pytest.raises(CodecError, match="claims to have"):
        Frames().feed(b"\x7f\xff\xff\xff\x02\x00\x00\x00")


def _plain(value: object) -> object:
    """Proton's values as plain ones: its numbers and strings are subclasses."""
    if isinstance(value, dict):
        return {_plain(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_plain(v) for v in value]
    return bytes(value) if isinstance(value, memoryview) else value
