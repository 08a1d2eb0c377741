"""What an error says where its caller's own words must not stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import InvalidRequest, NotFound
from contracts.problems import FieldProblem
from triggers.aside import aside


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("flow", "flow"),
        ("(body)", "(body)"),
        ("input.text", "input.…"),
        ("input[0].x", "input.…"),
        ("mine", "…"),
        ("batch.input_blob", "batch.input_blob"),
        ("batch.metadata.mine", "batch.…"),
        ("batch.mine", "batch.…"),
    ],
)
def test_of_fields_the_services_own_are_named(field, said):
    error = InvalidRequest(f"{field}: no.", [FieldProblem(field=field, expected="a text")])
    assert aside(error) == f"`{said}` is not as expected: a text"


def test_every_problem_is_told():
    problems = [FieldProblem(field=field, expected="a text") for field in ("flow", "model")]
    said = aside(InvalidRequest("Two things are wrong.", problems))
    assert "`flow`" in said and "`model`" in said


@given(st.text(max_size=30).map(lambda text: f"canary{text}"))
def test_nothing_that_is_quoted_stays(name):
    assert "canary" not in aside(NotFound(f"There is no flow {name!r}; the tenant's are a, b."))
    problem = FieldProblem(field=name, expected=f"a model's name: flow {name!r} has none")
    assert "canary" not in aside(InvalidRequest(name, [problem]))


def test_what_is_the_services_own_stays():
    assert aside(NotFound("There is no flow 'x'; there are a, b.")) == (
        "There is no flow '…'; there are a, b."
    )
