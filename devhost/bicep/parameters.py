"""Parameter files as azd reads them: JSON with ${NAME} and ${NAME=default} in its strings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from devhost.bicep.template import Template
from devhost.bicep.values import BicepError, Value

_REFERENCE = re.compile(r"\$\{(\w+)(?:=([^}]*))?\}")


def read_parameters(
    path: Path, template: Template, environment: Mapping[str, str]
) -> dict[str, Value]:
    """The parameters of `template` that the file gives. Raises BicepError, naming the parameter.

    Text becomes a number or a truth where the parameter is one, as azd has it.
    """
    given = json.loads(path.read_text(encoding="utf-8"))["parameters"]
    declared = template.found.parameters
    unknown = set(given) - set(declared)
    if unknown:
        raise BicepError(f"{path.name}: {template.path.name} takes no {', '.join(unknown)}")
    return {
        name: _converted(name, _filled(name, each["value"], environment), declared[name].kind)
        for name, each in given.items()
    }


def variables(path: Path) -> dict[str, str | None]:
    """The environment variables that the file asks for, with their defaults."""
    found = _REFERENCE.finditer(path.read_text(encoding="utf-8"))
    return {each[1]: each[2] for each in found}


def _filled(name: str, value: Value, environment: Mapping[str, str]) -> Value:
    if not isinstance(value, str):
        return value

    def replace(found: re.Match[str]) -> str:
        if found[1] in environment:
            return environment[found[1]]
        if found[2] is None:
            raise BicepError(f"{name}: {found[1]} is not set")
        return found[2]

    return _REFERENCE.sub(replace, value)


def _converted(name: str, value: Value, kind: str) -> Value:
    if not isinstance(value, str) or kind == "string":
        return value
    try:
        converted: Value = json.loads(value)
    except ValueError as error:
        raise BicepError(f"{name} is {value!r}; expected {kind}") from error
    return converted
