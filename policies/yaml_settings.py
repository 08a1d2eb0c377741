"""A YAML file read into pydantic classes: every finding at once, with its line, in the file's own
terms, and no value repeated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeAliasType, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from endpoints.marked_yaml import FieldPath, Finding, MarkedYaml, read
from endpoints.settings import SettingsError

_EXPECTED = {
    "missing": "a value: the field is required",
    "model_type": "a mapping of names to values",
    "model_attributes_type": "a mapping of names to values",
    "dict_type": "a mapping of names to values",
    "tuple_type": "a list",
    "frozen_set_type": "a list",
    "string_type": "text",
}
"""By pydantic's type of error, where its own words are not those of a YAML file."""


@dataclass(frozen=True, slots=True)
class ReadFile[M: BaseModel]:
    """`settings` is None while there are findings of the file's shape."""

    settings: M | None
    document: MarkedYaml
    findings: list[Finding]


def read_file[M: BaseModel](path: Path, environ: Mapping[str, str], model: type[M]) -> ReadFile[M]:
    """`${NAME}` in a value stands for `environ["NAME"]`. Raises SettingsError for no file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        what = f"a readable UTF-8 file ({type(error).__name__})"
        raise SettingsError(path, [Finding(None, (), what)]) from error
    document = read(text, environ)
    findings = list(document.findings)
    already = {finding.path for finding in findings}
    settings: M | None = None
    try:
        settings = model.model_validate(document.value)
    except ValidationError as error:
        wrong = [_finding(each, document, model) for each in error.errors(include_input=False)]
        findings += [finding for finding in wrong if finding.path not in already]
    return ReadFile(settings, document, findings)


def _finding(details: ErrorDetails, document: MarkedYaml, model: type[BaseModel]) -> Finding:
    path = tuple(part for part in details["loc"] if part != "[key]")
    return Finding(document.line(path), path, _expected(details, path, model))


def _expected(details: ErrorDetails, path: FieldPath, model: type[BaseModel]) -> str:
    match details["type"]:
        case "extra_forbidden":
            around = _model_at(model, path[:-1])
            return f"one of the fields {', '.join(around.model_fields if around else ())}"
        case "string_pattern_mismatch":
            return f"text that matches {details['ctx']['pattern']}"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            return details["msg"].replace("Input should be", "a number")
        case kind:
            return _EXPECTED.get(kind) or details["msg"].removeprefix("Input should be ")


def _model_at(kind: Any, path: FieldPath) -> type[BaseModel] | None:
    """The class of what is at a path below a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        if not path:
            return kind
        field = kind.model_fields.get(str(path[0]))
        return None if field is None else _model_at(field.annotation, path[1:])
    origin, arguments = get_origin(kind), get_args(kind)
    if path and origin in (dict, tuple, list):
        return _model_at(arguments[1 if origin is dict else 0], path[1:])
    found = (_model_at(each, path) for each in _alternatives(kind, origin, arguments))
    return next((each for each in found if each is not None), None)


def _alternatives(kind: Any, origin: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a value of this type may be."""
    if isinstance(kind, TypeAliasType):
        return (kind.__value__,)
    if origin is Annotated:
        return arguments[:1]
    return arguments if origin in (Union, UnionType) else ()
