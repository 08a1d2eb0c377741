"""Route constraints: what `{id:int}` or `{name:length(1,20)}` lets through."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

type Constraint = Callable[[str], bool]

_CALL = re.compile(r"^(?P<name>[a-z]+)(?:\((?P<argument>.*)\))?$", re.DOTALL)
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)")
_FLOAT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def constraint(text: str) -> Constraint:
    """The check that a constraint asks for. Raises ValueError and lists the known ones."""
    found = _CALL.match(text)
    name, argument = (found["name"], found["argument"]) if found else (text, None)
    if argument is None and name in _PLAIN:
        return _PLAIN[name]
    if argument is not None and name in _WITH_ARGUMENT:
        try:
            return _WITH_ARGUMENT[name](argument)
        except (ValueError, TypeError, re.error) as error:
            raise ValueError(f"constraint {text!r}: {error}") from error
    known = ", ".join([*_PLAIN, *(f"{name}(…)" for name in _WITH_ARGUMENT)])
    raise ValueError(f"unknown constraint {text!r}; known: {known}")


def _within_bits(bits: int) -> Constraint:
    limit = 1 << (bits - 1)

    def check(value: str) -> bool:
        number = _whole(value)
        return number is not None and -limit <= number < limit

    return check


def _whole(value: str) -> int | None:
    return int(value) if re.fullmatch(r"[+-]?[0-9]{1,20}", value) else None


def _parses[T](parse: Callable[[str], T]) -> Constraint:
    def check(value: str) -> bool:
        try:
            parse(value)
        except ValueError:
            return False
        return True

    return check


def _matches(pattern: re.Pattern[str]) -> Constraint:
    return lambda value: pattern.fullmatch(value) is not None


def _numbers(argument: str) -> list[int]:
    return [int(part) for part in argument.split(",")]


def _length(argument: str) -> Constraint:
    numbers = _numbers(argument)
    least, most = numbers * 2 if len(numbers) == 1 else numbers
    return lambda value: least <= len(value) <= most


def _minlength(argument: str) -> Constraint:
    least = int(argument)
    return lambda value: len(value) >= least


def _maxlength(argument: str) -> Constraint:
    most = int(argument)
    return lambda value: len(value) <= most


def _between(least: int | None, most: int | None) -> Constraint:
    def check(value: str) -> bool:
        number = _whole(value)
        return (
            number is not None
            and (least is None or number >= least)
            and (most is None or number <= most)
        )

    return check


def _range(argument: str) -> Constraint:
    least, most = _numbers(argument)
    return _between(least, most)


def _regex(argument: str) -> Constraint:
    # ASP.NET wants braces doubled inside a template; single ones are understood here as well.
    pattern = re.compile(argument.replace("{{", "{").replace("}}", "}"), re.IGNORECASE)
    return lambda value: pattern.search(value) is not None


_PLAIN: dict[str, Constraint] = {
    "int": _within_bits(32),
    "long": _within_bits(64),
    "bool": lambda value: value.lower() in {"true", "false"},
    "guid": _parses(UUID),
    "alpha": _matches(re.compile(r"[a-z]+", re.IGNORECASE | re.ASCII)),
    "datetime": _parses(datetime.fromisoformat),
    "decimal": _matches(_DECIMAL),
    "double": _matches(_FLOAT),
    "float": _matches(_FLOAT),
    "required": bool,
}

_WITH_ARGUMENT: dict[str, Callable[[str], Constraint]] = {
    "length": _length,
    "minlength": _minlength,
    "maxlength": _maxlength,
    "min": lambda argument: _between(int(argument), None),
    "max": lambda argument: _between(None, int(argument)),
    "range": _range,
    "regex": _regex,
}
