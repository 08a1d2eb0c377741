"""Batches without HTTP: handed over by a message, or dropped as a blob, and announced at the end.

With the real SDKs, the local broker, a real Blob Storage (Azurite) and the whole stack.
"""

from __future__ import annotations

import asyncio
import json
import time
import uuid

import pytest
from azure.storage.blob.aio import ContainerClient

from contracts.names import DEFAULT_BATCH_INPUTS, REJECTED_QUEUE
from tests.integration.batches_lab import PARTS, Lab, chat_lines, ids
from tests.integration.batches_lab import lab as running_lab
from tests.integration.queues_client import Producer, producer
from tests.integration.service_bus_harness import take_async
from tests.unit.lines_fakes import job_line, jsonl

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
async def it(tmp_path_factory):
    async with running_lab(tmp_path_factory.mktemp("headless"), PARTS | {"service_bus"}) as lab:
        yield lab


@pytest.fixture(scope="module")
async def queue(it: Lab):
    async with producer(it.stack.service_bus) as made:
        yield made


@pytest.fixture(scope="module")
async def inputs(it: Lab):
    """The container that others put inputs into."""
    client = ContainerClient.from_connection_string(it.stack.blob, DEFAULT_BATCH_INPUTS)
    async with client:
        await client.create_container()
        yield client


async def put(inputs: ContainerClient, data: bytes, suffix: str = ".txt", **metadata: str) -> str:
    """A blob of a new name; not of a name that is looked for, unless it ends so."""
    name = f"{uuid.uuid4().hex}{suffix}"
    await inputs.upload_blob(name, data, metadata=metadata)
    return name


async def test_a_message_hands_over_a_blob(it: Lab, queue: Producer, inputs):
    name = await put(inputs, chat_lines(300))
    url = f"{inputs.url}/{name}"
    sent = await queue.send({"batch": {"input_blob": url, "metadata": {"team": "a"}}})
    batch = await queue.reply(sent)
    assert batch["object"] == "batch"
    assert batch["status"] == "completed"
    assert batch["metadata"] == {"team": "a"}
    out, _ = await it.batches.results(batch)
    assert out.keys() == ids(300)
    [message] = [each for each in queue.messages if str(each.correlation_id) == sent]
    assert message.message_id == batch["id"]
    assert message.application_properties[b"status"] == b"completed"
    file = await it.batches.call("GET", f"/v1/files/{batch['input_file_id']}")
    assert (file["filename"], file["purpose"]) == (name, "batch")
    assert await it.batches.get(batch["id"]) == batch


async def test_a_message_names_an_uploaded_file(it: Lab, queue: Producer):
    line = job_line("a", flow="embed", input={"text": "x"})
    file = await it.batches.upload(jsonl(line))
    sent = await queue.send({"batch": {"input_file_id": file["id"]}}, correlation_id="c-1")
    batch = await queue.reply("c-1")
    assert (batch["status"], batch["endpoint"]) == ("completed", "/v1/jobs")
    assert sent not in queue.replies


async def test_the_same_message_twice_is_one_batch_and_one_reply(it: Lab, queue: Producer, inputs):
    it.model.reset_counts()
    url = f"{inputs.url}/{await put(inputs, chat_lines(20))}"
    message_id = uuid.uuid4().hex
    body = {"batch": {"input_blob": url}}
    await asyncio.gather(*(queue.send(body, message_id=message_id) for _ in range(2)))
    await queue.reply(message_id)
    await asyncio.sleep(1)
    assert len(queue.replies[message_id]) == 1
    assert it.calls() == 20


async def test_a_batch_with_a_bad_input_is_announced_with_its_errors(queue: Producer, inputs):
    url = f"{inputs.url}/{await put(inputs, chat_lines(1) + b'{')}"
    batch = await queue.reply(await queue.send({"batch": {"input_blob": url}}))
    assert batch["status"] == "failed"
    assert batch["errors"]["data"][0]["code"] == "invalid_json_line"
    assert batch["errors"]["data"][0]["line"] == 2


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/batch-inputs/a.jsonl",
        "http://127.0.0.1:1/devstoreaccount1/batch-inputs/a.jsonl",
        "{account}/sluice-files/default/content/file-1",
        "{account}/batch-inputs/../sluice-files/default/content/file-1",
        "{account}/batch-inputs/missing.jsonl",
    ],
)
async def test_no_other_blob_is_taken(queue: Producer, inputs, url):
    url = url.format(account=inputs.url.rpartition("/")[0])
    sent = await queue.send({"batch": {"input_blob": url}})
    reply = await queue.reply(sent)
    assert (reply["object"], reply["status"]) == ("batch", "rejected")
    assert reply["error"]["code"] in ("invalid_request", "not_found")
    async with queue.client.get_queue_receiver(REJECTED_QUEUE) as receiver:
        [kept] = await take_async(receiver, 1)
        await receiver.complete_message(kept)
    assert json.loads(b"".join(kept.body)) == {"batch": {"input_blob": url}}


# Blobs.


async def test_a_blob_that_is_dropped_is_a_batch(it: Lab, queue: Producer, inputs):
    name = await put(inputs, chat_lines(50), ".jsonl", team="a")
    batch = await queue.reply(name)
    assert batch["status"] == "completed"
    assert batch["metadata"] == {"team": "a"}
    out, _ = await it.batches.results(batch)
    assert out.keys() == ids(50)


async def test_each_version_of_a_blob_is_one_batch(it: Lab, queue: Producer, inputs):
    name = await put(inputs, chat_lines(3), ".jsonl")
    first = await queue.reply(name)
    await inputs.upload_blob(name, chat_lines(4), overwrite=True)
    limit = time.monotonic() + 180
    while len(queue.replies[name]) < 2 and time.monotonic() < limit:
        await asyncio.sleep(0.1)
    await asyncio.sleep(2.5)
    counts = [batch["request_counts"]["total"] for batch in queue.replies[name]]
    assert counts == [3, 4]
    assert queue.replies[name][1]["id"] != first["id"]


async def test_a_blob_that_is_no_batch_is_told_once(queue: Producer, inputs):
    name = await put(inputs, chat_lines(1), ".jsonl", endpoint="/v1/completions")
    reply = await queue.reply(name)
    assert (reply["object"], reply["status"]) == ("batch", "rejected")
    assert "endpoint" in reply["error"]["detail"]
    await asyncio.sleep(2.5)
    assert len(queue.replies[name]) == 1
