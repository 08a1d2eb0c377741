"""OpenAI's own Python client: files and batches."""

from __future__ import annotations

import asyncio
import json
import time

import openai
import pytest

BODY = {"model": "good", "messages": [{"role": "user", "content": "What a day?"}]}
CHAT = "/v1/chat/completions"


def line(number: int, body=BODY, url: str = CHAT, **fields) -> dict:
    return {"custom_id": f"line-{number}", "method": "POST", "url": url, "body": body} | fields


def jsonl(lines) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


async def upload(client, content: bytes):
    return await client.files.create(file=("lines.jsonl", content), purpose="batch")


async def begun(client, content: bytes, endpoint: str = CHAT, **fields):
    file = await upload(client, content)
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", **fields
    )


async def until(client, batch_id: str, statuses: set[str], within: float = 180):
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        batch = await client.batches.retrieve(batch_id)
        if batch.status in statuses:
            return batch
        await asyncio.sleep(0.2)
    raise AssertionError(batch)


async def ended(client, batch_id: str):
    return await until(client, batch_id, {"completed", "failed", "cancelled", "expired"})


async def lines_of(client, file_id: str) -> dict[str, dict]:
    text = (await client.files.content(file_id)).text
    found = [json.loads(each) for each in text.splitlines()]
    for each in found:
        assert each.keys() == {"id", "custom_id", "response", "error"}
    return {each["custom_id"]: each for each in found}


async def test_a_file(client):
    content = jsonl([line(0)])
    file = await upload(client, content)
    assert (file.object, file.purpose, file.filename) == ("file", "batch", "lines.jsonl")
    assert file.bytes == len(content)
    assert abs(file.created_at - time.time()) < 120
    assert await client.files.retrieve(file.id) == file
    assert (await client.files.content(file.id)).content == content
    assert file.id in [each.id async for each in client.files.list()]
    deleted = await client.files.delete(file.id)
    assert (deleted.id, deleted.deleted) == (file.id, True)
    with pytest.raises(openai.NotFoundError) as raised:
        await client.files.retrieve(file.id)
    assert raised.value.type == "invalid_request_error"


async def test_pages_of_files(client):
    files = [await upload(client, jsonl([line(number)])) for number in range(3)]
    newest_first = [file.id for file in reversed(files)]
    page = await client.files.list(limit=2)
    assert [file.id for file in page.data] == newest_first[:2]
    assert page.has_more
    assert page.has_next_page()
    following = await page.get_next_page()
    assert following.data[0].id == newest_first[2]


async def test_a_file_of_another_purpose(client):
    with pytest.raises(openai.BadRequestError) as raised:
        await client.files.create(file=("a.txt", b"a"), purpose="assistants")
    assert raised.value.param == "purpose"


async def test_a_batch_until_it_has_completed(client):
    lines = [line(number, BODY | {"model": "patchy"}) for number in range(40)]
    metadata = {"project": "e2e"}
    batch = await begun(client, jsonl(lines), metadata=metadata)
    assert batch.object == "batch"
    assert batch.status in ("validating", "in_progress")
    assert batch.metadata == metadata
    assert batch.expires_at - batch.created_at == 24 * 3600

    batch = await ended(client, batch.id)
    assert batch.status == "completed"
    counts = batch.request_counts
    assert counts.total == counts.completed + counts.failed == 40
    assert batch.completed_at >= batch.in_progress_at >= batch.created_at

    answered = await lines_of(client, batch.output_file_id)
    failed = await lines_of(client, batch.error_file_id)
    assert len(answered) == counts.completed
    assert len(failed) == counts.failed
    assert answered.keys() | failed.keys() == {f"line-{number}" for number in range(40)}

    one = next(iter(answered.values()))
    assert one["error"] is None
    assert one["response"]["status_code"] == 200
    assert one["response"]["request_id"]
    assert one["response"]["body"]["choices"][0]["message"]["content"].startswith("What a fine")

    one = next(iter(failed.values()))
    assert one["response"]["status_code"] >= 400
    assert one["response"]["body"]["error"]["message"]


async def test_a_batch_of_embeddings(client):
    url = "/v1/embeddings"
    lines = [line(n, {"model": "good", "input": f"text {n}"}, url) for n in range(3)]
    batch = await ended(client, (await begun(client, jsonl(lines), url)).id)
    assert batch.status == "completed"
    answered = await lines_of(client, batch.output_file_id)
    assert len(answered["line-1"]["response"]["body"]["data"][0]["embedding"]) == 8


async def test_a_batch_of_failures_has_no_output_file(client):
    lines = [line(n, BODY | {"model": "rejecting"}) for n in range(2)]
    batch = await ended(client, (await begun(client, jsonl(lines))).id)
    assert batch.status == "completed"
    assert batch.output_file_id is None
    assert len(await lines_of(client, batch.error_file_id)) == 2


@pytest.mark.parametrize(
    ("content", "code", "place"),
    [
        (b"", "empty_batch", None),
        (b"{nonsense\n", "invalid_json_line", 1),
        (jsonl([line(0), line(0)]), "duplicate_custom_id", 2),
        (jsonl([line(0), line(1, url="/v1/embeddings")]), "url_mismatch", 2),
        (jsonl([line(0, BODY | {"model": "nope"})]), "model_not_found", 1),
        (jsonl([line(0), line(1, BODY | {"model": "full"})]), "model_mismatch", 2),
        (jsonl([line(0, method="GET")]), "invalid_request", 1),
    ],
)
async def test_what_is_no_batch(client, content, code, place):
    batch = await ended(client, (await begun(client, content)).id)
    assert batch.status == "failed"
    first = batch.errors.data[0]
    assert (first.code, first.line) == (code, place)
    assert first.message
    assert batch.output_file_id is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_file_id": "file-nope"}, "input_file_id"),
        ({"endpoint": "/v1/audio"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata"),
    ],
)
async def test_what_is_refused_at_once(client, fields, param):
    file = await upload(client, jsonl([line(0)]))
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"} | fields
    with pytest.raises(openai.BadRequestError) as raised:
        await client.batches.create(**body)
    assert raised.value.param.startswith(param)


async def test_pages_of_batches(client):
    batches = [(await begun(client, jsonl([line(0)]))).id for _ in range(3)]
    newest_first = batches[::-1]
    page = await client.batches.list(limit=2)
    assert [batch.id for batch in page.data] == newest_first[:2]
    assert page.has_more
    after = await client.batches.list(limit=1, after=newest_first[1])
    assert [batch.id for batch in after.data] == newest_first[2:]
    walked = [batch.id async for batch in client.batches.list(limit=2)]
    assert walked[:3] == newest_first
    for limit in (0, 101):
        with pytest.raises(openai.BadRequestError) as raised:
            await client.batches.list(limit=limit)
        assert raised.value.param == "limit"


async def test_a_batch_is_cancelled(client):
    lines = [line(number, BODY | {"model": "slow"}) for number in range(200)]
    batch = await begun(client, jsonl(lines))
    await until(client, batch.id, {"in_progress"})
    cancelled = await client.batches.cancel(batch.id)
    assert cancelled.status in ("cancelling", "cancelled")
    batch = await ended(client, batch.id)
    assert batch.status == "cancelled"
    assert batch.cancelled_at >= batch.cancelling_at >= batch.created_at
    counts = batch.request_counts
    assert counts.total == 200
    assert counts.completed < 200
    with pytest.raises(openai.NotFoundError):
        await client.batches.cancel("batch_nope")
