"""The part of Service Bus's SQL that is understood, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.service_bus.filters.correlation import correlation_filter
from devhost.service_bus.filters.sql import SqlError, sql_filter
from devhost.service_bus.wire.sections import Readable

MESSAGE = Readable(
    system={"subject": "paint", "message_id": "m1"},
    user={"colour": "red", "size": 10, "price": 2.5, "gift": True, "odd name": "x", "it's": "y"},
)


@pytest.mark.parametrize(
    "expression",
    [
        "1=1",
        "colour = 'red'",
        "user.colour='red' and size >= 10",
        "sys.Label = 'paint' AND sys.messageid IN ('m0', 'm1')",
        "size < 5 OR price > 2",
        "NOT (size < 5)",
        "not not gift = true",
        "gift <> FALSE",
        "colour LIKE 'r_d' AND colour NOT LIKE '%x%'",
        "colour LIKE 're!d' ESCAPE '!'",
        "missing IS NULL AND colour IS NOT NULL",
        "EXISTS(colour) AND NOT EXISTS(user.missing)",
        "[odd name] = 'x' AND \"odd name\" != 'y'",
        "[it's] = 'y'",
        "colour NOT IN ('blue', 'green')",
        "size = 1e1 AND size = +10.0",
        "missing = 1 OR colour = 'red'",
    ],
)
def test_a_condition_that_is_true_takes_the_message(expression: str) -> None:
    assert sql_filter(expression)(MESSAGE)


@pytest.mark.parametrize(
    "expression",
    [
        "1=0",
        "colour = 'Red'",
        "missing = 1",  # unknown is not true,
        "NOT missing = 1",  # and neither is its contrary
        "missing = 1 AND colour = 'red'",
        "missing NOT IN (1)",
        "size LIKE '1%'",
        "colour > 5",
        "gift = 1",
        "size = '10'",
        "colour LIKE 'r'",
    ],
)
def test_a_condition_that_is_false_or_unknown_does_not(expression: str) -> None:
    assert not sql_filter(expression)(MESSAGE)


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "ends where"),
        ("colour", "ends where a comparison"),
        ("size + 1 = 2", r"'\+ 1 = 2' is not understood"),
        ("size = 2 size", "'size' is not understood"),
        ("newid() = 1", "function 'newid' is not supported"),
        ("sys.EnqueuedTimeUtc = 1", "sys.EnqueuedTimeUtc is not supported; known are"),
        ("colour IN red", "expected '\\('"),
        ("colour LIKE 5", "expected 'text'"),
        ("colour LIKE 'a' ESCAPE 'ab'", "one character"),
        ("colour IS 5", "expected NULL"),
        ("@parameter = 1", "'@parameter = 1' is not understood"),
        ("colour = 'open", "is not understood"),
        ("(" * 50 + "1=1" + ")" * 50, "nested too deeply"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_place(expression: str, why: str) -> None:
    with pytest.raises(SqlError, match=why):
        sql_filter(expression)


@given(st.text(alphabet="ab1'=<>()., ANDORNTIKELSUsy\"[]%", max_size=40))
def test_any_text_is_understood_or_refused(expression: str) -> None:
    try:
        passes = sql_filter(expression)
    except SqlError:
        return
    assert passes(MESSAGE) in (True, False)


def test_a_correlation_filter_compares_letter_for_letter() -> None:
    assert correlation_filter({"Label": "paint"}, {"size": "10", "gift": "true"})(MESSAGE)
    assert not correlation_filter({"Label": "Paint"}, {})(MESSAGE)
    assert not correlation_filter({}, {"missing": "x"})(MESSAGE)
