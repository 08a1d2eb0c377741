"""What expressions come to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


class BicepError(Exception):
    """A file is not as the language has it: names file and line, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Later:
    """A value that is known only once something was deployed; its text says of what."""

    text: str
    given: bool = False
    """Known when the template at hand begins, as its parameter: a name may be made of it."""

    @staticmethod
    def of(text: str, *sources: Value) -> Later:
        """What is made of sources, some of which are known only later."""
        return Later(text, all(each.given for each in sources if isinstance(each, Later)))

    def __str__(self) -> str:
        return f"<{self.text}>"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A resource or a module, as expressions refer to it."""

    label: str
    """As in the file, with an index in a loop."""
    kind: str
    """The resource type, or the path of a module."""
    name: Callable[[], str]
    """Evaluated when asked: bodies may refer to each other in any order."""
    path: Callable[[], str]
    """The resource id."""
    outputs: frozenset[str] | None = None
    """Of a module; None for a resource."""


@dataclass(frozen=True, slots=True)
class Lambda:
    """`x => ...`, to be called with as many values as it names."""

    call: Callable[..., Value]


type Value = bool | int | str | list[Value] | dict[str, Value] | Later | Symbol | Lambda | None
type Plain = bool | int | str | list[Plain] | dict[str, Plain] | None
"""What is left for JSON."""


def plain(value: Value) -> Plain:
    """`value` with what is known later as text in angle brackets."""
    match value:
        case Later():
            return str(value)
        case Symbol():
            return value.label
        case list():
            return [plain(each) for each in value]
        case dict():
            return {name: plain(each) for name, each in value.items()}
        case Lambda():
            raise BicepError("A lambda is no value of a property.")
    return value


def given(value: Value) -> Value:
    """`value` as a module has it that got it as a parameter."""
    match value:
        case Later():
            return Later(value.text, given=True)
        case list():
            return [given(each) for each in value]
        case dict():
            return {name: given(each) for name, each in value.items()}
    return value


def known(value: Value, what: str) -> Value:
    """`value`, when nothing in it is known only later. Raises BicepError."""
    if isinstance(value, Later):
        raise BicepError(f"{what} depends on {value.text}, which is known only at deployment.")
    return value


def text_of(value: Value) -> str:
    """As an interpolation writes it."""
    match value:
        case bool():
            return str(value).lower()
        case str() | int() | Later():
            return str(value)
    raise BicepError(f"{plain(value)!r} cannot be part of a string.")
