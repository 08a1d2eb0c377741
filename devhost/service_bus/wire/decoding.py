"""AMQP 1.0 values from bytes.

Messages pass through the broker as bytes; only what the broker must read is decoded. So there is
a reader that works on spans: `skip` finds where a value ends without building it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

from devhost.service_bus.wire.values import CodecError, Described, Symbol, Timestamp, Value

MAX_DEPTH = 32
"""Nesting that no real client reaches; deeper input is refused instead of exhausting the stack."""

_FIXED_WIDTH = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
_SIZED_WIDTH = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}

_NUMBERS: dict[int, struct.Struct] = {
    0x50: struct.Struct(">B"),  # ubyte
    0x51: struct.Struct(">b"),  # byte
    0x52: struct.Struct(">B"),  # uint, small
    0x53: struct.Struct(">B"),  # ulong, small
    0x54: struct.Struct(">b"),  # int, small
    0x55: struct.Struct(">b"),  # long, small
    0x60: struct.Struct(">H"),  # ushort
    0x61: struct.Struct(">h"),  # short
    0x70: struct.Struct(">I"),  # uint
    0x71: struct.Struct(">i"),  # int
    0x72: struct.Struct(">f"),  # float
    0x80: struct.Struct(">Q"),  # ulong
    0x81: struct.Struct(">q"),  # long
    0x82: struct.Struct(">d"),  # double
}
_CONSTANTS: dict[int, Value] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: ()}


def skip(data: bytes, at: int, depth: int = 0) -> int:
    """The position after the value that starts at `at`. Raises CodecError past the end."""
    code = _byte(data, at)
    at += 1
    if code == 0x00:
        if depth >= MAX_DEPTH:
            raise CodecError("Values are nested too deeply.")
        return skip(data, skip(data, at, depth + 1), depth + 1)
    return _payload_end(data, at, code)


def decode(data: bytes, at: int = 0) -> tuple[Value, int]:
    """The value that starts at `at`, and the position after it. Raises CodecError."""
    return _decode(data, at, 0)


def items(data: bytes, at: int) -> tuple[list[tuple[int, int]], int]:
    """The spans of the elements of a list or map (keys and values in turn), and its end."""
    body, count, end = _container(data, at)
    spans: list[tuple[int, int]] = []
    for _ in range(count):
        after = skip(data, body)
        spans.append((body, after))
        body = after
    if body != end:
        raise CodecError("A list or map is longer than its elements.")
    return spans, end


def pairs(data: bytes, at: int) -> Iterator[tuple[Value, int, int, int]]:
    """Each (key, start of the key, start of the value, end of the value) of a map."""
    spans, _ = items(data, at)
    if len(spans) % 2:
        raise CodecError("A map has a key without a value.")
    for key, value in zip(spans[::2], spans[1::2], strict=True):
        yield decode(data, key[0])[0], key[0], value[0], value[1]


def _byte(data: bytes, at: int) -> int:
    if at >= len(data):
        raise CodecError("The bytes end inside a value.")
    return data[at]


def _payload_end(data: bytes, at: int, code: int) -> int:
    kind = code >> 4
    if (fixed := _FIXED_WIDTH.get(kind)) is not None:
        end = at + fixed
    elif (width := _SIZED_WIDTH.get(kind)) is not None:
        size = int.from_bytes(data[at : at + width])
        end = at + width + size
    else:
        raise CodecError(f"0x{code:02x} is not an AMQP type.")
    if end > len(data):
        raise CodecError("The bytes end inside a value.")
    return end


def _container(data: bytes, at: int) -> tuple[int, int, int]:
    """Of a list or map: where its elements start, how many they are, where it ends."""
    code = _byte(data, at)
    if code == 0x45:
        return at + 1, 0, at + 1
    if code not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise CodecError(f"Expected a list or a map, found type 0x{code:02x}.")
    width = 1 if code >> 4 == 0xC else 4
    end = _payload_end(data, at + 1, code)
    body = at + 1 + 2 * width
    if body > end:
        raise CodecError("A list or map has no count.")
    count = int.from_bytes(data[body - width : body])
    if count > end - body:  # every element takes a byte at least
        raise CodecError("A list or map is shorter than its elements.")
    return body, count, end


def _decode(data: bytes, at: int, depth: int) -> tuple[Value, int]:
    code = _byte(data, at)
    if code in _CONSTANTS:
        return _CONSTANTS[code], at + 1
    if depth >= MAX_DEPTH:
        raise CodecError("Values are nested too deeply.")
    if code == 0x00:
        descriptor, at = _decode(data, at + 1, depth + 1)
        value, at = _decode(data, at, depth + 1)
        return Described(descriptor, value), at
    if code in (0xC0, 0xD0):
        return _decode_list(data, at, depth)
    if code in (0xC1, 0xD1):
        flat, end = _decode_list(data, at, depth)
        return _as_map(flat), end
    if code in (0xE0, 0xF0):
        return _decode_array(data, at, depth)
    end = _payload_end(data, at + 1, code)
    return _scalar(data[at + 1 : end], code), end


def _decode_list(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    body, count, end = _container(data, at)
    elements: list[Value] = []
    for _ in range(count):
        element, body = _decode(data, body, depth + 1)
        elements.append(element)
    if body != end:
        raise CodecError("A list or map is longer than its elements.")
    return elements, end


def _as_map(flat: list[Value]) -> dict[Value, Value]:
    if len(flat) % 2:
        raise CodecError("A map has a key without a value.")
    try:
        return dict(zip(flat[::2], flat[1::2], strict=True))
    except TypeError:
        raise CodecError("A map has a key that is a list or a map.") from None


def _decode_array(data: bytes, at: int, depth: int) -> tuple[list[Value], int]:
    width = 1 if data[at] == 0xE0 else 4
    end = _payload_end(data, at + 1, data[at])
    body = at + 1 + 2 * width
    if body >= end:
        raise CodecError("An array has no element type.")
    count = int.from_bytes(data[body - width : body])
    code, body = data[body], body + 1
    if count > end - body and code not in _CONSTANTS:
        raise CodecError("An array is shorter than its elements.")
    if count > end:
        raise CodecError("An array is longer than the bytes that hold it.")
    elements: list[Value] = []
    for _ in range(count):
        # Elements share one constructor: put it before each to read them as usual.
        after = _payload_end(data, body, code)
        elements.append(_decode(bytes([code]) + data[body:after], 0, depth + 1)[0])
        body = after
    return elements, end


def _scalar(content: bytes, code: int) -> Value:
    if (number := _NUMBERS.get(code)) is not None:
        (value,) = number.unpack(content)
        return value  # type: ignore[no-any-return]
    try:
        return _text_or_bytes(content, code)
    except UnicodeDecodeError:
        raise CodecError("A string is not valid UTF-8, or a symbol not ASCII.") from None


def _text_or_bytes(content: bytes, code: int) -> Value:  # noqa: PLR0911 - one line a type
    match code:
        case 0x56:
            return content != b"\x00"
        case 0x83:
            return Timestamp(int.from_bytes(content, signed=True))
        case 0x98:
            return UUID(bytes=content)
        case 0xA0:
            return content[1:]
        case 0xB0:
            return content[4:]
        case 0xA1:
            return content[1:].decode()
        case 0xB1:
            return content[4:].decode()
        case 0xA3:
            return Symbol(content[1:].decode("ascii"))
        case 0xB3:
            return Symbol(content[4:].decode("ascii"))
    # decimals and char: carried, never looked into
    return content
