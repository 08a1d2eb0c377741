"""A job's input against a flow's JSON Schema, told field by field.

Nothing said here quotes the input: only the schema and the names of fields.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from pydantic import JsonValue

from contracts.calls import JsonObject
from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem

_LIMITS = {
    "minLength": "at least {} character(s)",
    "maxLength": "at most {} character(s)",
    "minItems": "at least {} item(s)",
    "maxItems": "at most {} item(s)",
    "minProperties": "at least {} field(s)",
    "maxProperties": "at most {} field(s)",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "pattern": "text that matches {}",
    "format": "a {}",
}
_MOST_PROBLEMS = 20
"""Of one request; more would not help anyone."""


def schema_error(schema: JsonObject) -> str | None:
    """What is wrong with a schema, with the place in it; None when it is one."""
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(map(str, error.absolute_path))
        return f"{place}: {error.message}" if place else error.message
    return None


class InputCheck:
    """The check of one flow's input."""

    def __init__(self, flow: str, schema: JsonObject) -> None:
        self._flow = flow
        self._validator = Draft202012Validator(schema)

    def __call__(self, input: JsonObject) -> None:
        """Raises InvalidRequest, which names every field at fault and what was expected there."""
        problems = []
        for error in self._validator.iter_errors(input):
            problems += list(_problems(error))
            if len(problems) >= _MOST_PROBLEMS:
                break
        if not problems:
            return
        said = "; ".join(f"{problem.field}: expected {problem.expected}" for problem in problems)
        raise InvalidRequest(f"The input does not fit flow {self._flow!r}. {said}.", problems)


def _problems(error: ValidationError) -> Iterator[FieldProblem]:
    path = error.absolute_path
    schema = error.schema if isinstance(error.schema, dict) else {}
    match error.validator:
        case "required":
            # One error a missing name; jsonschema tells which only in its message.
            for name in _missing(error, schema):
                yield _problem([*path, name], _expected(_property(schema, name)))
        case "additionalProperties" if isinstance(error.instance, dict):
            known = schema.get("properties", {})
            expected = f"no such field; known: {', '.join(known) or 'none'}"
            for name in error.instance.keys() - known.keys():
                yield _problem([*path, name], expected)
        case _:
            yield _problem(path, _expected(schema))


def _missing(error: ValidationError, schema: JsonObject) -> list[str]:
    required = schema.get("required")
    names = (
        [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
    )
    return [name for name in names if error.message.startswith(f"{name!r} ")]


def _property(schema: JsonObject, name: str) -> JsonValue:
    properties = schema.get("properties")
    return properties.get(name, True) if isinstance(properties, dict) else True


def _problem(path: Iterable[str | int], expected: str) -> FieldProblem:
    return FieldProblem(field=".".join(map(str, ["input", *path])), expected=expected)


def _expected(schema: JsonValue) -> str:
    """A schema in words, as far as a caller needs them."""
    if not isinstance(schema, dict):
        return "a value" if schema else "nothing"
    for choice in ("anyOf", "oneOf"):
        options = schema.get(choice)
        if isinstance(options, list):
            return " or ".join(dict.fromkeys(map(_expected, options)))
    if "const" in schema:
        return json.dumps(schema["const"])
    if isinstance(values := schema.get("enum"), list):
        return f"one of {', '.join(map(json.dumps, values))}"
    limits = [words.format(schema[name]) for name, words in _LIMITS.items() if name in schema]
    return ", ".join([_type(schema), *limits])


def _type(schema: JsonObject) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(map(str, kind))
    if kind == "array" and isinstance(items := schema.get("items"), dict):
        return f"array of {_expected(items)}"
    return str(kind or "a value")
