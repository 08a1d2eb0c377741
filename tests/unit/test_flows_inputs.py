"""A job's input against a flow's schema: every field at fault is named, and nothing is quoted."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from contracts.calls import JsonObject
from contracts.errors import InvalidRequest
from flows.inputs import InputCheck, schema_error

LETTER: JsonObject = {
    "type": "object",
    "properties": {
        "text": {"type": "string", "minLength": 1, "maxLength": 5},
        "tone": {"enum": ["formal", "friendly"]},
        "copies": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10, "multipleOf": 2},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "to": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
        "sender": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
        "version": {"const": 2},
        "either": {"type": ["string", "null"]},
    },
    "required": ["text"],
    "additionalProperties": False,
}


def problems(input: JsonObject, schema: JsonObject = LETTER) -> dict[str, str]:
    try:
        InputCheck("letter", schema)(input)
    except InvalidRequest as error:
        return {problem.field: problem.expected for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("input", "field", "expected"),
    [
        ({}, "input.text", "string, at least 1 character(s), at most 5 character(s)"),
        ({"text": 7}, "input.text", "string, at least 1 character(s), at most 5 character(s)"),
        (
            {"text": "", "x": 1},
            "input.x",
            "no such field; known: " + ", ".join(LETTER["properties"]),
        ),  # type: ignore[arg-type]
        ({"tone": "rude"}, "input.tone", 'one of "formal", "friendly"'),
        ({"copies": 11}, "input.copies", "integer, at least 1, less than 10, a multiple of 2"),
        ({"tags": ["a", 1]}, "input.tags.1", "string"),
        ({"tags": [1, 2, 3]}, "input.tags", "array of string, at most 2 item(s)"),
        ({"to": 4}, "input.to", "string or array of string"),
        ({"sender": {}}, "input.sender.name", "string"),
        ({"sender": {"name": "a", "age": 4}}, "input.sender.age", "no such field; known: name"),
        ({"version": 1}, "input.version", "2"),
        ({"either": 1}, "input.either", "string or null"),
    ],
)
def test_what_is_said_of_a_field(input: JsonObject, field: str, expected: str) -> None:
    assert problems(input)[field] == expected


def test_all_fields_are_told_at_once() -> None:
    assert problems({"tone": 1, "copies": "a"}).keys() == {
        "input.text",
        "input.tone",
        "input.copies",
    }


def test_the_detail_says_it_in_a_sentence() -> None:
    with pytest.raises(InvalidRequest) as raised:
        InputCheck("letter", LETTER)({"text": "hi", "version": 3})
    assert raised.value.detail == (
        "The input does not fit flow 'letter'. input.version: expected 2."
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
letters = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(cast("JsonObject", LETTER["properties"]), json_values),
        "text": st.text(max_size=7) | json_values,
    },
)


@given(letters)
def test_refused_when_and_only_when_the_schema_refuses(input: JsonObject) -> None:
    assert bool(problems(input)) == (not Draft202012Validator(LETTER).is_valid(input))


@given(st.text(alphabet="αβγδ", min_size=6, max_size=12))
def test_the_input_is_never_quoted(secret: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        InputCheck("letter", LETTER)({"text": secret, "tone": secret, "sender": secret})
    assert secret not in raised.value.detail


def test_a_schema_that_is_none() -> None:
    assert schema_error(LETTER) is None
    assert str(schema_error({"properties": {"a": {"type": 4}}})).startswith("properties.a.type: ")
