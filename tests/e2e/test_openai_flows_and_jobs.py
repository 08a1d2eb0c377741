"""OpenAI's own Python client, where a flow stands for the model, and where a call becomes a job."""

from __future__ import annotations

import asyncio
import json
import time

import openai
import pytest

from devhost.inference.simulated import Behaviour
from tests.e2e.conftest import BEHAVIOURS

ASK = [{"role": "user", "content": "What a day?"}]
ANSWER = "What a fine day it is."
TEXT = "The museum is closed on Mondays. Entry costs nine euros. It is near the station."
CLASSIFY = json.dumps({"text": "The striker scored twice.", "labels": ["sport", "cooking"]})


def saying(text) -> list[dict]:
    return [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Of no account."},
        {"role": "assistant", "content": "Well."},
        {"role": "user", "content": text},
    ]


@pytest.mark.parametrize("text", [TEXT, [{"type": "text", "text": TEXT}]])
async def test_a_flow_whose_input_is_one_text(client, text):
    raw = await client.chat.completions.with_raw_response.create(
        model="summarize", messages=saying(text)
    )
    completion = raw.parse()
    assert completion.model == "summarize"
    said = completion.choices[0].message.content
    assert said
    assert all(sentence in TEXT for sentence in said.split(". "))
    assert completion.usage.total_tokens > 0
    assert raw.headers["x-sluice-deployment"] == "chat-openai"


async def test_a_flow_whose_input_is_an_object(client):
    completion = await client.chat.completions.create(model="classify", messages=saying(CLASSIFY))
    result = json.loads(completion.choices[0].message.content)
    assert result["label"] == "sport"
    assert result["scores"].keys() == {"sport", "cooking"}


async def test_a_stream_of_a_flow_is_one_chunk(client):
    stream = await client.chat.completions.create(
        model="classify",
        messages=saying(CLASSIFY),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunk, last = [chunk async for chunk in stream]
    assert json.loads(chunk.choices[0].delta.content)["label"] == "sport"
    assert chunk.choices[0].finish_reason == "stop"
    assert last.usage is not None


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (saying("no JSON"), "messages"),
        (saying("[1]"), "messages"),
        (saying([{"type": "image_url", "image_url": {"url": "data:,"}}]), "messages"),
        ([{"role": "system", "content": "alone"}], "messages"),
        (saying('{"text": "but", "more": 1}'), "input.more"),
    ],
)
async def test_what_is_no_input_of_the_flow(client, messages, param):
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="answer", messages=messages)
    assert param in [raised.value.param, *raised.value.body["message"].split()] or (
        f"{param}:" in raised.value.body["message"]
    )


async def ended(client, location: str, within: float = 180) -> dict:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        record = await client.get(location.removeprefix("/v1"), cast_to=object)
        if record["status"] in ("succeeded", "failed", "cancelled", "expired"):
            return record
        await asyncio.sleep(0.2)
    raise AssertionError(record)


@pytest.mark.parametrize("model", ["good", "classify"])
async def test_in_the_background(client, model):
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=saying(CLASSIFY), extra_body={"background": True}
    )
    # On a busy machine it may have ended before it is answered for, and then with its answer.
    assert (raw.status_code, raw.headers.get("retry-after")) in {(202, "1"), (200, None)}
    location = raw.headers["location"]
    if raw.status_code == 202:
        assert location == f"/v1/jobs/{json.loads(raw.text)['id']}"
    record = await ended(client, location)
    assert record["status"] == "succeeded"
    if model == "good":
        assert record["result"]["choices"][0]["message"]["content"] == ANSWER
    else:
        assert record["result"]["label"] == "sport"


@pytest.mark.parametrize("model", ["good", "summarize"])
async def test_a_caller_who_waits_is_answered_as_ever(client, model):
    raw = await client.chat.completions.with_raw_response.create(
        model=model, messages=saying(TEXT), extra_headers={"Prefer": "wait=100"}
    )
    assert raw.status_code == 200
    assert raw.headers["preference-applied"] == "wait=100"
    assert raw.headers["location"].startswith("/v1/jobs/job_")
    assert raw.headers["x-sluice-deployment"]
    completion = raw.parse()
    assert completion.object == "chat.completion"
    assert completion.choices[0].message.content


async def test_embeddings_and_responses_as_jobs(client):
    prefer = {"Prefer": "wait=100"}
    embedded = await client.embeddings.create(model="good", input="one", extra_headers=prefer)
    assert len(embedded.data[0].embedding) == 8
    response = await client.responses.create(model="good", input="Hi", extra_headers=prefer)
    assert response.output_text.startswith("What a fine day")
    raw = await client.responses.with_raw_response.create(model="good", input="Hi", background=True)
    assert raw.status_code in (200, 202)
    assert (await ended(client, raw.headers["location"]))["status"] == "succeeded"


async def test_a_long_call_becomes_a_job(client):
    raw = await client.chat.completions.with_raw_response.create(
        model="slow", messages=ASK, extra_headers={"Prefer": "wait=1"}
    )
    assert raw.status_code == 202
    record = await ended(client, raw.headers["location"])
    assert record["result"]["choices"][0]["message"]["content"] == ANSWER
    assert len(record["attempts"]) == 1


async def test_a_saturated_model_makes_a_job_of_a_call_that_asks_for_it(client, steering):
    await steering.set("relieved", Behaviour(capacity=0))
    with_wait = {"Prefer": "wait=1"}
    raw = await client.chat.completions.with_raw_response.create(
        model="relieved", messages=ASK, extra_headers=with_wait
    )
    assert raw.status_code == 202
    await steering.set("relieved", BEHAVIOURS["relieved"])
    record = await ended(client, raw.headers["location"])
    assert record["result"]["choices"][0]["message"]["content"] == ANSWER


async def test_a_repeat_with_the_same_key_is_the_same_job(client):
    async def ask(content: str) -> str:
        raw = await client.chat.completions.with_raw_response.create(
            model="good",
            messages=[{"role": "user", "content": content}],
            extra_body={"background": True},
            extra_headers={"Idempotency-Key": "e2e-once"},
        )
        return raw.headers["location"]

    assert await ask("one") == await ask("one")
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        await ask("two")
    assert raised.value.code == "idempotency_key_reused"


async def test_a_job_that_fails_is_the_error_that_the_call_would_be(client):
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        await client.chat.completions.create(
            model="rejecting", messages=ASK, extra_headers={"Prefer": "wait=100"}
        )
    assert raised.value.code == "model_rejected_request"
    assert raised.value.type == "invalid_request_error"
    assert raised.value.response.headers["location"].startswith("/v1/jobs/job_")


async def test_a_job_is_not_streamed(client):
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(
            model="good", messages=ASK, stream=True, extra_body={"background": True}
        )
    assert raised.value.param == "stream"
