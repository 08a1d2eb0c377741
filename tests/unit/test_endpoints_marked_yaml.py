"""YAML with its lines: values as JSON, placeholders filled, everything wrong in `findings`."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from endpoints.marked_yaml import read

TEXT = """\
# a comment
models:
  chat:
    - name: a
      when: 2024-10-21
      count: 3
      on: true
      nothing:
    - name: "${NAME} and ${NAME}"
"""


def test_values_are_those_of_json_and_lines_are_kept() -> None:
    document = read(TEXT, {"NAME": "b"})
    assert document.findings == []
    assert document.value == {
        "models": {
            "chat": [
                {"name": "a", "when": "2024-10-21", "count": 3, "on": True, "nothing": None},
                {"name": "b and b"},
            ]
        }
    }
    assert document.line(("models", "chat", 0, "count")) == 6
    assert document.line(("models", "chat", 1)) == 9
    assert document.line(("models", "chat", 1, "url", "missing")) == 9


def test_without_an_environment_placeholders_are_text() -> None:
    assert read("a: ${NAME}", None).value == {"a": "${NAME}"}


def test_a_filled_value_is_not_filled_again() -> None:
    assert read("a: ${ONE}", {"ONE": "${TWO}", "TWO": "2"}).value == {"a": "${TWO}"}


@pytest.mark.parametrize(
    ("text", "line", "path", "expected"),
    [
        ("a: 1\nb: 2\na: 3", 3, ("a",), "each name once; it is on line 1 too"),
        ("a:\n  - ${NOT_SET}", 2, ("a", 0), "the app setting NOT_SET to be set"),
        ("a: ${EMPTY}", 1, ("a",), "the app setting EMPTY to be set"),
        ("a: ${no-name}", 1, ("a",), "${NAME}, a name of letters, digits and _"),
        ("a: ${OPEN", 1, ("a",), "${NAME}, a name of letters, digits and _"),
        ("a: &x {b: *x}", 1, ("a", "b"), "no alias (*) to a part that contains it"),
        ("? {a: 1}\n: 2", 1, (), "plain field names"),
        ("a: !!int seven", 1, ("a",), "a value of tag:yaml.org,2002:int"),
        ("a: 1\nb: [", 2, (), "valid YAML (expected the node content, but found '<stream end>')"),
        ("a: 1\n---\nb: 1", 2, (), "valid YAML (but found another document)"),
    ],
)
def test_findings(text: str, line: int, path: tuple[str | int, ...], expected: str) -> None:
    findings = read(text, {"EMPTY": ""}).findings
    assert [(each.line, each.path, each.expected) for each in findings] == [(line, path, expected)]


@pytest.mark.parametrize("text", ["key: 'hunter2", "key: [hunter2", "key: hunter2\n\tb: 1"])
def test_a_syntax_error_does_not_quote_the_file(text: str) -> None:
    findings = read(text, {}).findings
    assert findings
    assert "hunter2" not in repr(findings)


@given(st.text())
def test_any_text_is_survived(text: str) -> None:
    document = read(text, {})
    assert document.findings or json.dumps(document.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(categories=["L", "N"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc", min_size=1), inner),
    max_leaves=20,
)


@given(json_values)
def test_what_pyyaml_writes_is_read_back(value: object) -> None:
    document = read(yaml.safe_dump(value), {})
    assert document.findings == []
    assert document.value == value
