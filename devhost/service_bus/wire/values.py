"""The values of AMQP 1.0 (OASIS AMQP 1.0, part 1) as Python ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID


class CodecError(ValueError):
    """The bytes are not a well-formed AMQP value."""


class Symbol(str):
    """An AMQP symbol: ASCII text from a constrained domain."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since the Unix epoch, UTC."""

    __slots__ = ()


class Int32(int):
    """A number to be written as AMQP int instead of long."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Described:
    """A value with its descriptor."""

    descriptor: Value
    value: Value


@dataclass(frozen=True, slots=True)
class Array:
    """Values of one type, to be written as an AMQP array; reading one gives a list."""

    elements: Sequence[Value]


type Value = (
    bool
    | int
    | float
    | str
    | bytes
    | UUID
    | Described
    | Array
    | Sequence[Value]
    | Mapping[Value, Value]
    | None
)
