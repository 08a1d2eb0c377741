"""Templates in JSON: an expression keeps its type, and what is inserted stays data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError
from pydantic import JsonValue

from flows.adapters.templates import BadTemplate, Template


def rendered(template: JsonValue, **values: JsonValue) -> JsonValue:
    return Template(template).render(values)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ n }}", 3),
        ("  {{ n + 1 }}\n", 4),
        ("n is {{ n }}", "n is 3"),
        ("{{ n }}{{ n }}", "33"),
        ("{{ list | map('upper') }}", ["A", "B"]),
        ("{% if n > 2 %}many{% endif %}", "many"),
        ("plain", "plain"),
        (7, 7),
        (None, None),
        ({"a": ["{{ n }}", {"b": "{{ list }}"}]}, {"a": [3, {"b": ["a", "b"]}]}),
        ("{{ data.items }}", "a field, not a method"),
        ("{{ {'n': n} }}", {"n": 3}),
    ],
)
def test_rendering(template: JsonValue, expected: JsonValue) -> None:
    values: dict[str, JsonValue] = {
        "n": 3,
        "list": ["a", "b"],
        "data": {"items": "a field, not a method"},
    }
    assert rendered(template, **values) == expected


def test_what_is_not_there_is_left_out() -> None:
    template: JsonValue = {"max_tokens": "{{ input.most }}", "stop": ["{{ input.stop }}", "."]}
    assert rendered(template, input={}) == {"stop": ["."]}
    assert rendered("{{ input.most }}", input={}) is None


def test_what_is_not_there_cannot_be_part_of_a_text() -> None:
    with pytest.raises(TemplateError):
        rendered("at most {{ input.most }}", input={})


@given(st.text())
def test_an_inserted_text_comes_out_as_it_is(text: str) -> None:
    assert rendered("{{ text }}", text=text) == text
    assert rendered("<{{ text }}>", text=text) == f"<{text}>"


def test_python_is_out_of_reach() -> None:
    with pytest.raises(SecurityError):
        rendered("{{ text.__class__.__mro__ }}!", text="a")
    with pytest.raises(TemplateError):
        rendered("{{ list.append(1) }}", list=[])


def test_where_a_template_is_wrong() -> None:
    with pytest.raises(BadTemplate) as raised:
        Template({"messages": [{"content": "{{ input. }}"}]})
    assert raised.value.path == ("messages", 0, "content")
