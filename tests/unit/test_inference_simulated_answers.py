"""What a request costs, and how much is answered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devhost.inference.simulated.answers import Unreadable, answer, read, text


def chat(**fields):
    return json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


@given(usual=st.integers(1, 200), most=st.none() | st.integers(1, 200))
def test_a_chat_answer_has_a_word_for_each_token_and_no_more_than_allowed(usual, most):
    asked = read("chat", chat() if most is None else chat(max_tokens=most))
    body = json.loads(answer("a", asked, usual, 1).content)

    tokens = usual if most is None else min(usual, most)
    choice = body["choices"][0]
    assert len(choice["message"]["content"].split()) == tokens
    assert body["usage"]["completion_tokens"] == tokens
    assert choice["finish_reason"] == ("stop" if tokens == usual else "length")


@given(tokens=st.integers(1, 200))
def test_a_streamed_answer_says_the_same(tokens):
    asked = read("chat", chat(stream=True, stream_options={"include_usage": True}))
    events = answer("a", asked, tokens, 1).content.decode().split("\n\n")

    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content", "") for choice in choices) == text(tokens)
    assert choices[-1]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == tokens


def test_a_longer_prompt_costs_more():
    assert read("chat", chat()).prompt_tokens < read("chat", chat(user="x" * 99)).prompt_tokens


def test_embeddings_tell_texts_apart_and_keep_their_order():
    asked = read("embeddings", json.dumps({"input": ["one", "two", "one"]}).encode())
    data = json.loads(answer("a", asked, 54, 1).content)["data"]
    one, two, again = (each["embedding"] for each in data)
    assert [each["index"] for each in data] == [0, 1, 2]
    assert one == again != two


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("chat", b""),
        ("chat", b"{"),
        ("chat", b"[]"),
        ("score", b"\xff"),
        ("chat", b"[" * 100_000),
        ("responses", b'{"stream": true}'),
    ],
)
def test_what_cannot_be_answered_says_so(route, body):
    with pytest.raises(Unreadable):
        read(route, body)
