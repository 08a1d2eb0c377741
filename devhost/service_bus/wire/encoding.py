"""AMQP 1.0 values as bytes."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from uuid import UUID

from devhost.service_bus.wire.values import Array, Described, Int32, Symbol, Timestamp, Value


def encode(value: Value) -> bytes:  # noqa: PLR0911, PLR0912 - one line a type
    """The value as bytes: `int` becomes long, `Int32` int, a sequence a list."""
    match value:
        case None:
            return b"\x40"
        case bool():
            return b"\x41" if value else b"\x42"
        case Timestamp():
            return b"\x83" + struct.pack(">q", value)
        case Int32():
            return b"\x71" + struct.pack(">i", value)
        case int():
            return b"\x81" + struct.pack(">q", value)
        case float():
            return b"\x82" + struct.pack(">d", value)
        case Symbol():
            return _sized(0xA3, 0xB3, value.encode("ascii"))
        case str():
            return _sized(0xA1, 0xB1, value.encode())
        case bytes() | bytearray() | memoryview():
            return _sized(0xA0, 0xB0, bytes(value))
        case UUID():
            return b"\x98" + value.bytes
        case Described():
            return b"\x00" + encode(value.descriptor) + encode(value.value)
        case Array():
            return _array([_wide(encode(element)) for element in value.elements])
        case Mapping():
            body = b"".join(encode(k) + encode(v) for k, v in value.items())
            return container(0xD1, 2 * len(value), body)
        case Sequence():
            return container(0xD0, len(value), b"".join(map(encode, value)))
    raise TypeError(f"No AMQP type stands for {type(value).__name__}.")


def container(code: int, count: int, body: bytes) -> bytes:
    """A list, map or array with a four-byte size and count."""
    return bytes([code]) + struct.pack(">II", len(body) + 4, count) + body


def _array(elements: list[bytes]) -> bytes:
    code = elements[0][0] if elements else 0x40
    if any(element[0] != code for element in elements):
        raise TypeError("The elements of an array must be of one type.")
    body = bytes([code]) + b"".join(element[1:] for element in elements)
    return container(0xF0, len(elements), body)


def _wide(encoded: bytes) -> bytes:
    """The form with a four-byte length, which every element of an array can share."""
    code = encoded[0]
    if code >> 4 == 0xA:
        return bytes([code + 0x10]) + struct.pack(">I", encoded[1]) + encoded[2:]
    return encoded


def _sized(short: int, long: int, content: bytes) -> bytes:
    if len(content) < 256:
        return bytes([short, len(content)]) + content
    return bytes([long]) + struct.pack(">I", len(content)) + content
