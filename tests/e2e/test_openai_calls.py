"""OpenAI's own Python client, unmodified: chats, embeddings, responses, models, and errors."""

from __future__ import annotations

import math
import time

import openai
import pytest

from tests.e2e.conftest import WORDS

ASK = [{"role": "user", "content": "What a day?"}]
ANSWER = "What a fine day it is."


async def test_a_chat(client):
    completion = await client.chat.completions.create(model="good", messages=ASK, temperature=0)
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens == WORDS


async def test_headers_of_an_answer(client):
    raw = await client.chat.completions.with_raw_response.create(model="good", messages=ASK)
    assert raw.status_code == 200
    assert raw.headers["x-sluice-deployment"] == "good-1"
    assert raw.request_id == raw.headers["x-request-id"] != ""
    assert raw.parse().choices[0].message.content == ANSWER


async def test_the_key_as_a_query(stack):
    async with openai.AsyncOpenAI(
        base_url=f"{stack.http}/v1", api_key="unused", default_query={"code": stack.api_key}
    ) as client:
        assert (await client.models.retrieve("good")).id == "good"


@pytest.mark.parametrize("headers", [{}, {"x-functions-key": "wrong"}])
async def test_no_key(stack, headers):
    async with openai.AsyncOpenAI(
        base_url=f"{stack.http}/v1", api_key=stack.api_key, default_headers=headers, max_retries=0
    ) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.models.list()


async def test_a_stream_event_by_event(client):
    stream = await client.chat.completions.create(model="good", messages=ASK, stream=True)
    assert stream.response.headers["x-sluice-deployment"] == "good-1"
    chunks = [chunk async for chunk in stream]
    deltas = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(deltas) == ANSWER
    assert sum(map(bool, deltas)) == WORDS
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert [chunk.choices[0].finish_reason for chunk in chunks][-1] == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_a_stream_with_its_usage(client):
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="good", messages=ASK, stream=True, stream_options=options
    )
    *chunks, last = [chunk async for chunk in stream]
    assert all(chunk.choices for chunk in chunks)
    assert last.choices == []
    assert last.usage.completion_tokens == WORDS


async def test_the_stream_helper(client):
    async with client.chat.completions.stream(model="good", messages=ASK) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        completion = await stream.get_final_completion()
    assert "".join(deltas) == ANSWER
    assert completion.choices[0].message.content == ANSWER


@pytest.mark.parametrize("encoding", [None, "float", "base64"])
@pytest.mark.parametrize("model", ["good", "embed"])
async def test_embeddings(client, model, encoding):
    """The client asks for base64 unless told otherwise, and takes numbers as well."""
    chosen = {} if encoding is None else {"encoding_format": encoding}
    answer = await client.embeddings.create(model=model, input=["one", "two"], **chosen)
    assert [each.index for each in answer.data] == [0, 1]
    if model == "embed" and encoding == "base64":
        assert all(isinstance(each.embedding, str) for each in answer.data)
        return
    first, second = (each.embedding for each in answer.data)
    assert len(first) == len(second) == (8 if model == "good" else 384)
    assert first != second
    if model == "embed":
        assert math.isclose(sum(x * x for x in first), 1.0, rel_tol=1e-3)


async def test_a_response(client):
    response = await client.responses.create(model="good", input="What a day?")
    assert response.status == "completed"
    assert response.output_text.startswith("What a fine day")


async def test_a_real_model_answers_from_the_prompt(client):
    text = "The museum is closed on Mondays. Entry costs nine euros."
    completion = await client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": f"Question: What does entry cost?\n\n{text}"}],
    )
    assert "nine euros" in completion.choices[0].message.content


async def test_models(client):
    listed = {model.id: model async for model in client.models.list()}
    assert {"chat", "embed", "good", "summarize", "classify"} <= listed.keys()
    assert {model.object for model in listed.values()} == {"model"}
    assert listed["good"].owned_by == "sluice"
    assert listed["summarize"].owned_by == "flow"
    assert await client.models.retrieve("good") == listed["good"]
    assert await client.models.retrieve("summarize") == listed["summarize"]
    for name in ("nope", "good@1", "chat.completions"):
        with pytest.raises(openai.NotFoundError) as raised:
            await client.models.retrieve(name)
        assert raised.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("model", "fields", "error", "type_", "param", "code"),
    [
        ("nope", {}, openai.NotFoundError, "invalid_request_error", None, "model_not_found"),
        ("", {}, openai.BadRequestError, "invalid_request_error", "model", "invalid_request"),
        (
            "good",
            {"messages": []},
            openai.BadRequestError,
            "invalid_request_error",
            "messages",
            "invalid_request",
        ),
        (
            "good",
            {"messages": "Hi"},
            openai.BadRequestError,
            "invalid_request_error",
            "messages",
            "invalid_request",
        ),
        (
            "rejecting",
            {},
            openai.UnprocessableEntityError,
            "invalid_request_error",
            None,
            "model_rejected_request",
        ),
        ("failing", {}, openai.InternalServerError, "server_error", None, "model_call_failed"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors(client, model, fields, error, type_, param, code, stream):
    body = {"model": model, "messages": ASK} | fields
    with pytest.raises(error) as raised:
        await client.chat.completions.create(**body, stream=stream)
    told = raised.value
    assert (told.type, told.param, told.code) == (type_, param, code)
    assert told.body["message"]


async def test_a_full_model_says_when_to_come_back(client):
    with pytest.raises(openai.RateLimitError) as raised:
        await client.chat.completions.create(model="full", messages=ASK)
    told = raised.value
    assert (told.type, told.code) == ("rate_limit_error", "no_capacity")
    seconds = int(told.response.headers["retry-after"])
    milliseconds = int(told.response.headers["retry-after-ms"])
    assert 10 < seconds <= 600
    assert seconds == math.ceil(milliseconds / 1000)


async def test_a_stream_that_breaks_off_says_so(client):
    stream = await client.chat.completions.create(model="breaking", messages=ASK, stream=True)
    heard = []
    with pytest.raises(openai.APIError) as raised:
        async for chunk in stream:
            heard.append(chunk)
    assert heard
    assert (raised.value.type, raised.value.code) == ("server_error", "outcome_unknown")


async def test_a_client_that_gives_up(client):
    impatient = client.with_options(timeout=0.5)
    with pytest.raises(openai.APITimeoutError):
        await impatient.chat.completions.create(model="slow", messages=ASK)


async def test_the_clients_own_retries_come_through(client):
    began = time.monotonic()
    completion = await client.with_options(max_retries=6).chat.completions.create(
        model="healing", messages=ASK
    )
    assert completion.choices[0].message.content == ANSWER
    print(f"answered after {time.monotonic() - began:.1f} s of the client's own retries")
