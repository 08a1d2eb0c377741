"""A flow in a model's place: what a chat says to it, and how its result reads."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.calls import Attempt, Usage
from contracts.errors import InvalidRequest
from contracts.flows import FlowInfo
from triggers.openai.flow_model import completion, flow_input

TEXT = {"type": "string", "minLength": 1}
ONE_TEXT = {"type": "object", "properties": {"text": TEXT}, "required": ["text"]}
TEXT_OR_LIST = {
    "type": "object",
    "properties": {"text": {"anyOf": [TEXT, {"type": "array"}]}, "more": TEXT},
    "required": ["text"],
}
TWO = {
    "type": "object",
    "properties": {"question": TEXT, "documents": {"type": "array"}},
    "required": ["question", "documents"],
}
ONE_NUMBER = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def flow(schema: dict) -> FlowInfo:
    return FlowInfo(name="f", kind="direct", description="", input_schema=schema, models=["m"])


def user(content: object) -> list[dict]:
    return [{"role": "user", "content": "before"}, {"role": "user", "content": content}]


@pytest.mark.parametrize(
    ("schema", "content", "expected"),
    [
        (ONE_TEXT, "Hi", {"text": "Hi"}),
        (ONE_TEXT, '{"other": 1}', {"text": '{"other": 1}'}),
        (ONE_TEXT, '{"text": "Hi"}', {"text": "Hi"}),
        (ONE_TEXT, '["text"]', {"text": '["text"]'}),
        (ONE_TEXT, [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], {"text": "ab"}),
        (TEXT_OR_LIST, "Hi", {"text": "Hi"}),
        (TEXT_OR_LIST, '{"text": ["a"], "more": "b"}', {"text": ["a"], "more": "b"}),
        (TWO, '{"question": "a", "documents": []}', {"question": "a", "documents": []}),
        (ONE_NUMBER, '{"n": 1}', {"n": 1}),
        ({"type": "object"}, "{}", {}),
    ],
)
def test_what_the_last_message_says(schema, content, expected):
    messages = [*user(content), {"role": "assistant", "content": "after"}]
    assert flow_input(flow(schema), messages) == expected


@pytest.mark.parametrize(
    ("schema", "messages", "expected"),
    [
        (TWO, user("Hi"), "question, documents"),
        (ONE_NUMBER, user("1"), "JSON object: n"),
        ({"type": "object"}, user("Hi"), "no field of it is required"),
        (ONE_TEXT, user(None), "text alone"),
        (ONE_TEXT, user([{"type": "image_url", "image_url": {}}]), "text alone"),
        (ONE_TEXT, [{"role": "system", "content": "Hi"}], "the role `user`"),
    ],
)
def test_what_says_nothing_to_the_flow(schema, messages, expected):
    with pytest.raises(InvalidRequest, match=expected) as raised:
        flow_input(flow(schema), messages)
    assert raised.value.problems[0].field == "messages"


@given(st.text())
def test_any_text_reaches_a_flow_of_one_text(text):
    assert flow_input(flow(ONE_TEXT), user(text)).keys() == {"text"}


def attempt(input_tokens: int, output_tokens: int) -> Attempt:
    return Attempt(
        model="m",
        deployment="d",
        outcome="answered",
        started_at=datetime.now(UTC),
        seconds=0.1,
        request_id="r",
        usage=Usage(input_tokens, output_tokens, 1),
    )


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ("text", "text"),
        ({"summary": "text"}, "text"),
        ({"summary": ["text"]}, '{"summary": ["text"]}'),
        ({"label": "é", "score": 1}, '{"label": "é", "score": 1}'),
        ([1], "[1]"),
        (None, "null"),
    ],
)
def test_how_a_result_reads(result, content):
    answer = json.loads(completion("f", result, [attempt(1, 2), attempt(3, 4)]).whole())
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "f"
    [choice] = answer["choices"]
    assert choice["message"]["content"] == content
    assert choice["finish_reason"] == "stop"
    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_of_one_chunk(with_usage):
    events = completion("f", "text", []).events(with_usage=with_usage).split(b"\n\n")
    assert events[-2:] == [b"data: [DONE]", b""]
    chunks = [json.loads(event.removeprefix(b"data: ")) for event in events[:-2]]
    assert len(chunks) == 1 + with_usage
    [choice] = chunks[0]["choices"]
    assert choice["delta"]["content"] == "text"
    assert choice["finish_reason"] == "stop"
    assert len({chunk["id"] for chunk in chunks}) == 1
    if with_usage:
        assert chunks[1]["choices"] == []
        assert chunks[1]["usage"]["total_tokens"] == 0
