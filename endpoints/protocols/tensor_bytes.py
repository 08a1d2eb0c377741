"""Tensor elements as bytes: KServe's binary tensor data, little-endian and without padding.

BYTES elements, which may be any text or file, each stand behind their length (4 bytes).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from math import isfinite
from typing import Literal

from pydantic import JsonValue

type Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64",
    "FP16", "BF16", "FP32", "FP64", "BYTES",
]  # fmt: skip

BINARY_ONLY = frozenset({"FP16", "BF16"})
"""Datatypes that KServe's JSON form cannot carry."""

_FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b",
    "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
DATATYPES = frozenset({*_FORMATS, "BF16", "BYTES"})

_LENGTH = struct.Struct("<I")


class NotElements(ValueError):
    """Values that the datatype cannot hold, or bytes that are no values of it."""


def pack(datatype: str, values: list[JsonValue]) -> bytes:
    """The elements' bytes. Raises NotElements."""
    if not {type(value) for value in values} <= _python_types(datatype):
        raise NotElements
    try:
        if datatype == "BYTES":
            return pack_bytes([str(value).encode() for value in values])
        if datatype == "BF16":
            return _pack_bf16(values)
        return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)
    except (struct.error, OverflowError, UnicodeEncodeError):
        raise NotElements from None


def unpack(datatype: str, data: bytes, count: int) -> list[JsonValue]:
    """`count` elements of a datatype other than BYTES. Raises NotElements, also for NaN and
    infinities, which JSON cannot carry."""
    code = "H" if datatype == "BF16" else _FORMATS.get(datatype)
    if code is None or len(data) != count * struct.calcsize(f"<{code}"):
        raise NotElements
    values = list(struct.unpack(f"<{count}{code}", data))
    if datatype == "BF16":
        values = list(_widened(values))
    if datatype in _FLOATS and not all(map(isfinite, values)):
        raise NotElements
    return values


def pack_bytes(values: list[bytes]) -> bytes:
    return b"".join(part for value in values for part in (_LENGTH.pack(len(value)), value))


def unpack_bytes(data: bytes, count: int) -> list[bytes]:
    """`count` elements of BYTES. Raises NotElements."""
    values: list[bytes] = []
    at = 0
    while at < len(data):
        if len(data) - at < _LENGTH.size:
            raise NotElements
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        values.append(data[at - length : at])
    if at != len(data) or len(values) != count:
        raise NotElements
    return values


def from_base64(values: list[JsonValue]) -> list[bytes]:
    """Raises NotElements for what is not base64."""
    try:
        return [base64.b64decode(_text(value), validate=True) for value in values]
    except binascii.Error:
        raise NotElements from None


def to_base64(values: list[bytes]) -> list[JsonValue]:
    return [base64.b64encode(value).decode() for value in values]


_FLOATS = frozenset({"FP16", "BF16", "FP32", "FP64"})


def _python_types(datatype: str) -> set[type]:
    match datatype:
        case "BOOL":
            return {bool}
        case "BYTES":
            return {str}
    return {int, float} if datatype in _FLOATS else {int}


def _text(value: JsonValue) -> bytes:
    if not isinstance(value, str) or not value.isascii():
        raise NotElements
    return value.encode()


def _pack_bf16(values: list[JsonValue]) -> bytes:
    """The upper halves of FP32, rounded to the nearest, ties to even."""
    count = len(values)
    wide = struct.unpack(f"<{count}I", struct.pack(f"<{count}f", *values))
    return struct.pack(f"<{count}H", *map(_narrowed, wide))


def _narrowed(bits: int) -> int:
    exponent, fraction = bits & 0x7F800000, bits & 0x007FFFFF
    if exponent == 0x7F800000:  # an infinity, or NaN, which rounding must not make one
        return bits >> 16 | (0x40 if fraction else 0)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    if rounded & 0x7F80 == 0x7F80:
        raise OverflowError
    return rounded


def _widened(halves: list[int]) -> Iterator[float]:
    count = len(halves)
    wide = struct.pack(f"<{count}I", *(half << 16 for half in halves))
    yield from struct.unpack(f"<{count}f", wide)
