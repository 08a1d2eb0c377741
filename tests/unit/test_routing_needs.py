"""What a body needs of a deployment, as far as it tells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from contracts.calls import ModelCall, Task
from endpoints.routing.needs import Needs, needs

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 40_000}}


def of(payload: JsonValue, task: Task = Task.CHAT) -> Needs:
    return needs(ModelCall("m", task, payload))


def chat(*content: JsonValue, **fields: JsonValue) -> JsonValue:
    return {"messages": [{"role": "user", "content": each} for each in content], **fields}


def test_a_token_is_four_characters_and_the_output_counts_as_long_as_it_may_get():
    assert of(chat("x" * 4000)).tokens == pytest.approx(1000, abs=5)
    assert of(chat("x" * 4000, max_tokens=500)).tokens == pytest.approx(1500, abs=5)
    assert of(chat("x", max_completion_tokens=70, max_tokens=900)).tokens < 80
    for nonsense in (-5, None, "many", True, 1.5):
        assert of(chat("x", max_tokens=nonsense)).tokens < 5


def test_an_image_is_no_text_and_is_named():
    found = of(chat([{"type": "text", "text": "What is it?"}, IMAGE]))
    assert found.tokens < 20
    assert found.modalities == {"image"}


@pytest.mark.parametrize(
    ("part", "modality"),
    [
        ({"type": "input_audio", "input_audio": {"data": "AAAA"}}, "audio"),
        ({"type": "file", "file": {"file_data": "AAAA"}}, "file"),
        ({"type": "input_image", "image_url": "https://x/y.png"}, "image"),
        ({"type": "input_file", "file_id": "f"}, "file"),
    ],
)
def test_modalities_of_chat_and_of_responses(part, modality):
    assert of(chat([part])).modalities == {modality}
    responses: JsonValue = {"input": [{"role": "user", "content": [part]}]}
    assert of(responses, Task.RESPONSES).modalities == {modality}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, False),
        ({"response_format": None}, False),
        ({"response_format": {"type": "text"}}, False),
        ({"response_format": {"type": "json_object"}}, True),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, True),
        ({"text": {"format": {"type": "text"}}}, False),
        ({"text": {"format": {"type": "json_schema"}}}, True),
        ({"text": "json"}, False),
    ],
)
def test_whether_json_is_asked_for(fields, wanted):
    assert of(chat("x", **fields)).json_mode is wanted


def test_embeddings_may_be_asked_for_in_tokens():
    assert of({"input": list(range(300))}, Task.EMBEDDINGS).tokens == 301
    assert of({"input": [[1, 2, 3], [4, 5]]}, Task.EMBEDDINGS).tokens == 6
    assert of({"input": ["four", "text"]}, Task.EMBEDDINGS).tokens == 3


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["type", "messages", "input", "content", "x"]), inner)
    ),
    max_leaves=20,
)


@given(payload=json_values)
def test_any_body_has_an_estimate(payload):
    assert of(payload).tokens >= 1
