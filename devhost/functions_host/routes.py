"""Route templates of HTTP triggers, as ASP.NET reads them: `jobs/{id:guid}/{*rest}`.

A template is split into segments; each matches one segment of the path, except `{*rest}`, which
takes all that is left. `{id?}` and `{id=5}` may be missing. Literals match in any case.
Source: "Route templates" and "Route constraints" in the ASP.NET Core routing reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from urllib.parse import unquote

from devhost.functions_host.route_constraints import Constraint, constraint

_PARAMETER = re.compile(
    r"^(?P<stars>\*{0,2})(?P<name>[^\W\d]\w*)(?P<constraints>(:.*)?)$", re.DOTALL
)

# ASP.NET's order of precedence of segments.
_LITERAL, _CONSTRAINED, _FREE, _CONSTRAINED_REST, _REST = range(1, 6)


class RouteError(ValueError):
    """A route template that cannot be served. The message says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    constraints: tuple[Constraint, ...] = ()
    default: str | None = None
    optional: bool = False
    rest: bool = False

    def accepts(self, value: str) -> bool:
        return all(check(value) for check in self.constraints)


@dataclass(frozen=True, slots=True)
class Segment:
    """Literals and parameters between two slashes, compiled to one expression."""

    pattern: re.Pattern[str]
    parameters: tuple[Parameter, ...]

    @property
    def may_be_missing(self) -> bool:
        return len(self.parameters) == 1 and (
            self.parameters[0].optional or self.parameters[0].rest
        )

    @property
    def precedence(self) -> int:
        if not self.parameters:
            return _LITERAL
        constrained = any(parameter.constraints for parameter in self.parameters)
        if self.parameters[0].rest:
            return _CONSTRAINED_REST if constrained else _REST
        return _CONSTRAINED if constrained else _FREE

    def match(self, text: str) -> dict[str, str] | None:
        found = self.pattern.fullmatch(text)
        if found is None:
            return None
        values = found.groupdict()
        return values if all(p.accepts(values[p.name]) for p in self.parameters) else None


@dataclass(frozen=True, slots=True)
class Route:
    """A compiled template. Of the routes that match, the one with the least `order` is meant."""

    template: str
    segments: tuple[Segment, ...]

    @property
    def order(self) -> tuple[int, ...]:
        return tuple(segment.precedence for segment in self.segments)

    def match(self, path: Sequence[str]) -> dict[str, str] | None:
        """The values of the parameters if the path's segments match, else None."""
        values: dict[str, str] = {}
        for position, segment in enumerate(self.segments):
            rest = bool(segment.parameters) and segment.parameters[0].rest
            if position >= len(path):
                if not segment.may_be_missing:
                    return None
                values |= _missing(segment.parameters[0])
                continue
            found = segment.match("/".join(path[position:]) if rest else path[position])
            if found is None:
                return None
            values |= found
            if rest:
                return values
        return values if len(path) <= len(self.segments) else None


def _missing(parameter: Parameter) -> dict[str, str]:
    return {} if parameter.default is None else {parameter.name: parameter.default}


def split_path(raw_path: str) -> list[str]:
    """The decoded segments of a request's path; an escaped slash stays within its segment."""
    return [unquote(part) for part in raw_path.strip("/").split("/") if part]


def compile_route(template: str) -> Route:
    """Raises RouteError, which names the template and what is wrong with it."""
    try:
        segments = [_segment(text) for text in _split(template.strip("/"), "/") if text]
        _check_order(segments)
    except (ValueError, re.error) as error:
        raise RouteError(f"route {template!r}: {error}") from error
    return Route(template, tuple(segments))


def _check_order(segments: list[Segment]) -> None:
    names = [p.name for segment in segments for p in segment.parameters]
    if len(set(names)) < len(names):
        raise ValueError("a parameter occurs twice")
    for segment, following in pairwise(segments):
        if segment.parameters and segment.parameters[0].rest:
            raise ValueError("a catch-all parameter must be the last segment")
        if segment.may_be_missing and not following.may_be_missing:
            raise ValueError("only the last segments may be optional")


def _segment(text: str) -> Segment:
    expression = ""
    parameters: list[Parameter] = []
    for part in _parts(text):
        if not part.startswith("{"):
            expression += re.escape(part)
            continue
        parameter = _parameter(part[1:-1])
        parameters.append(parameter)
        expression += f"(?P<{parameter.name}>{'.*' if parameter.rest else '.+'})"
    if len(parameters) > 1 or (parameters and not text.startswith("{")):
        _check_mixed(parameters)
    return Segment(re.compile(expression, re.IGNORECASE | re.DOTALL), tuple(parameters))


def _check_mixed(parameters: list[Parameter]) -> None:
    if any(parameter.rest or parameter.optional for parameter in parameters):
        raise ValueError("an optional or catch-all parameter must be a segment of its own")


def _parts(text: str) -> list[str]:
    """`file-{name}.{ext}` as `file-`, `{name}`, `.`, `{ext}`."""
    parts = [""]
    depth = 0
    for character in text:
        if character == "{" and depth == 0:
            parts.append("")
        depth += (character == "{") - (character == "}")
        if depth < 0:
            raise ValueError("a } without its {")
        parts[-1] += character
        if character == "}" and depth == 0:
            parts.append("")
    if depth:
        raise ValueError("a { without its }")
    return [part for part in parts if part]


def _parameter(inner: str) -> Parameter:
    inner, equals, default = _cut(inner, "=")
    optional = inner.endswith("?")
    found = _PARAMETER.match(inner.removesuffix("?"))
    if found is None:
        raise ValueError(f"{{{inner}}} is no parameter: expected a name, then :constraints")
    constraints = _split(found["constraints"].removeprefix(":"), ":")
    return Parameter(
        name=found["name"],
        constraints=tuple(constraint(text) for text in constraints if text),
        default=default if equals else None,
        optional=optional or bool(equals),
        rest=bool(found["stars"]),
    )


def _cut(text: str, separator: str) -> tuple[str, str, str]:
    """`str.partition` at the first separator outside brackets."""
    head = _split(text, separator)[0]
    return head, text[len(head) : len(head) + 1], text[len(head) + 1 :]


def _split(text: str, separator: str) -> list[str]:
    """`str.split` at the separators outside any brackets."""
    parts = [""]
    depth = 0
    for character in text:
        depth += (character in "{(") - (character in "})")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
