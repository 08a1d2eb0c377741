"""The laws of redaction: what goes out, and what comes back."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contracts.errors import Misconfigured
from policies.privacy import texts
from policies.privacy.kinds import Kind
from policies.privacy.placeholders import PLACEHOLDER
from policies.privacy.redaction import TenantRedaction, finder_of
from policies.privacy.settings import PrivacySettings
from tests.unit.privacy_labelled import labelled

RULES = PrivacySettings(restore=True, patterns={"badge": r"EMP-[0-9]{6}"})
FINDER = finder_of(RULES)
REDACTION = TenantRedaction(lambda tenant: RULES)

VALUES = st.sampled_from(
    [
        "jane.doe@example.com",
        "+44 20 7946 0958",
        "4111 1111 1111 1111",
        "DE89 3704 0044 0532 0130 00",
        "536-90-4399",
        "203.0.113.77",
        "EMP-123456",
        "AKIAIOSFODNN7EXAMPLE",
        "<EMAIL_1>",
        '{"to": "jane.doe@example.com", "card": "4111111111111111"}',
    ]
)
TEXTS = st.lists(st.text(max_size=12) | VALUES, max_size=6).map(" ".join)
PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


async def redacted(payload, rules=RULES):
    return await TenantRedaction(lambda tenant: rules).redacted(payload, "t")


def shape(payload):
    """The payload with every text the same."""
    return texts.rewritten(payload, lambda text: "")


@settings(max_examples=400)
@given(PAYLOADS)
async def test_restored_is_as_it_was_and_nothing_else_is_touched(payload):
    before = json.dumps(payload)
    result = await REDACTION.redacted(payload, "t")
    assert json.dumps(payload) == before, "the caller's own payload stays as it is"
    if result is None:
        assert all(not list(FINDER.find(text)) for text in texts.texts(payload))
        return
    assert shape(result.payload) == shape(payload)
    assert json.loads(json.dumps(result.payload)) == result.payload
    assert result.restored(result.payload) == payload


@settings(max_examples=400)
@given(PAYLOADS)
async def test_no_value_that_was_found_goes_out(payload):
    found = {
        text[part.start : part.end] for text in texts.texts(payload) for part in FINDER.find(text)
    }
    result = await REDACTION.redacted(payload, "t")
    assert (result is None) == (not found)
    if result is not None:
        for text in texts.texts(result.payload):
            assert not any(value in text for value in found)


@given(PAYLOADS)
async def test_a_json_text_stays_the_json_that_it_was(payload):
    """With numbers that are long enough to be something in the place of words, too."""
    arguments = json.dumps({"payload": payload})
    result = await REDACTION.redacted([arguments], "t")
    if result is None:
        return
    [sent] = result.payload
    assert shape(json.loads(sent)).keys() == {"payload"}
    [restored] = result.restored([sent])
    assert texts_of(json.loads(restored)) == texts_of(json.loads(arguments))


def texts_of(payload):
    """All values, numbers as texts: a long one goes out, and comes back, as one."""
    if isinstance(payload, dict):
        return {key: texts_of(value) for key, value in payload.items()}
    if isinstance(payload, list):
        return [texts_of(value) for value in payload]
    return payload if payload is None or isinstance(payload, bool | float) else str(payload)


@pytest.mark.parametrize("many", [1, 200])
async def test_half_a_surrogate_pair_hides_nothing(many):
    text = " ".join(f"\ud83d p{n}@example.com" for n in range(many)) + " \udc00 EMP-123456"
    result = await redacted([text], RULES)
    assert "@" not in result.payload[0]
    assert "EMP" not in result.payload[0]
    assert result.restored(result.payload) == [text]


@pytest.mark.parametrize("text", [each.text for each in labelled()])
async def test_each_labelled_text_comes_back(text):
    result = await redacted([text])
    if result is not None:
        assert result.payload != [text]
        assert result.restored(result.payload) == [text]


async def test_the_same_value_has_the_same_placeholder_and_another_has_another():
    result = await redacted(
        {"messages": ["a@example.com and b@example.com", {"again": "a@example.com"}]}
    )
    assert result.payload == {"messages": ["<EMAIL_1> and <EMAIL_2>", {"again": "<EMAIL_1>"}]}


async def test_a_placeholder_of_the_callers_own_is_not_taken_for_one_of_ours():
    result = await redacted(["write <EMAIL_1> for a@example.com"])
    assert result.payload == ["write <EMAIL_1> for <EMAIL_2>"]
    assert result.restored(["<EMAIL_1>: <EMAIL_2>"]) == ["<EMAIL_1>: a@example.com"]


async def test_keys_and_numbers_stay():
    payload = {"a@example.com": 4111111111111111, "x": [True, None, 1.5, "b@example.com"]}
    result = await redacted(payload)
    assert result.payload == {
        "a@example.com": 4111111111111111,
        "x": [True, None, 1.5, "<EMAIL_1>"],
    }


async def test_an_image_is_not_searched():
    image = "data:image/png;base64,AAAA+4915112345678/AKIAIOSFODNN7EXAMPLE"
    assert await redacted({"image_url": {"url": image}}) is None


async def test_a_json_text_stays_json_and_its_escapes_are_understood():
    arguments = '{"note": "line\\na@example.com", "card": 4111111111111111, "n": 12345678}'
    result = await redacted({"arguments": arguments})
    sent = result.payload["arguments"]
    assert json.loads(sent) == {"note": "line\n<EMAIL_1>", "card": "<CARD_1>", "n": 12345678}


async def test_a_value_is_escaped_where_an_answer_is_json():
    rules = PrivacySettings(restore=True, patterns={"quote": 'say "[a-z]+"'})
    result = await redacted(['they say "hush"'], rules)
    assert result.payload == ["they <QUOTE_1>"]
    [answer] = result.restored(['{"said": "<QUOTE_1>"}'])
    assert json.loads(answer) == {"said": 'say "hush"'}
    assert result.restored(["<QUOTE_1>"]) == ['say "hush"']


async def test_a_value_goes_out_nowhere_even_where_its_surroundings_hide_it():
    result = await redacted(["from 203.0.113.77", "seen at x203.0.113.77y"])
    assert result.payload == ["from <IP_1>", "seen at x<IP_1>y"]


async def test_many_values():
    addresses = [f"person{n}@example.com" for n in range(1500)]
    result = await redacted([" ".join(addresses)])
    assert len(set(PLACEHOLDER.findall(result.payload[0]))) == 1500
    assert result.restored(result.payload) == [" ".join(addresses)]


async def test_a_very_long_text():
    result = await redacted(["word " * 100_000 + "a@example.com"])
    assert result.payload[0].endswith("word <EMAIL_1>")


async def test_nothing_comes_back_unless_asked_for():
    result = await redacted(["a@example.com"], PrivacySettings())
    assert result.restored(["<EMAIL_1>"]) == ["<EMAIL_1>"]
    assert result.rewriter() is None


async def test_only_the_kinds_that_are_named():
    rules = PrivacySettings(kinds={Kind.IBAN})
    assert await redacted(["a@example.com"], rules) is None
    assert await redacted(["a@example.com DE89370400440532013000"], rules) is not None


async def test_each_tenant_has_its_own_rules():
    rules = {"a": PrivacySettings(), "b": PrivacySettings(kinds={Kind.CARD})}
    redaction = TenantRedaction(rules.__getitem__)
    assert await redaction.redacted(["a@example.com"], "a") is not None
    assert await redaction.redacted(["a@example.com"], "b") is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"patterns": {"x": "(a+)+$ (?=b)"}}, "no look-around"),
        ({"patterns": {"x": r"(a)\1"}}, "no look-around"),
        ({"patterns": {"x": "("}}, "RE2"),
        ({"patterns": {"x": "a*"}}, "does not match the empty text"),
        ({"patterns": {"Bad name": "a"}}, "string_pattern_mismatch"),
        ({"patterns": {"x": "a" * 513}}, "at most 512"),
        ({"patterns": {f"x{n}": "a" for n in range(33)}}, "at most 32"),
        ({"kinds": ["email", "shoe_size"]}, "shoe_size"),
        ({"language": "english"}, "pattern"),
        ({"retention": {"results": 30}}, "ISO 8601"),
        ({"retention": {"results": "P0D"}}, "ISO 8601"),
        ({"retention": {"results": "next week"}}, "ISO 8601"),
        ({"retention": {"logs": "P1D"}}, "extra"),
    ],
)
def test_what_cannot_be_kept_is_refused_at_the_start(fields, expected):
    with pytest.raises(ValidationError) as wrong:
        PrivacySettings.model_validate(fields)
    told = str(wrong.value.errors(include_input="shoe_size" in expected))
    assert expected in told or expected in str(wrong.value)
    assert "(a+)+$" not in str(wrong.value), "the value is not repeated"


async def test_a_tenants_pattern_cannot_run_away():
    """`(a+)+$` takes an engine that backtracks longer than the universe has been."""
    rules = PrivacySettings(patterns={"evil": "(a+)+b"})
    assert await redacted(["a" * 100_000], rules) is None


async def test_presidio_that_is_not_installed_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "presidio_analyzer", None)
    rules = PrivacySettings.model_validate({"presidio": {"model": "not_there"}})
    with pytest.raises(Misconfigured, match=r"requirements-presidio\.txt"):
        await redacted(["Jane Doe"], rules)
