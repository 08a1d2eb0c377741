"""Blobs that are dropped: each version one batch, told what it is by its metadata."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from contracts.batches import AcceptedBatch, BatchTicket
from contracts.errors import DependencyUnavailable
from contracts.names import RESULTS_QUEUE
from tests.unit.fakes import FakeDurableClient, FakeQueues, MemoryContainer, fake_parts
from tests.unit.lines_fakes import CHAT, chat_file, job_line, jsonl
from triggers.batch_blobs import receive

NAME = "team a/june.jsonl"


class Door:
    def __init__(self, queues: bool = True) -> None:
        self.container = MemoryContainer()
        self.inputs = MemoryContainer(
            name="batch-inputs", url="https://account.blob.core.windows.net/batch-inputs"
        )
        self.client = FakeDurableClient()
        self.queues = FakeQueues()

        async def never(given: Any, run: Any) -> Any:
            raise AssertionError("the door runs no flow")

        self.parts = fake_parts(
            self.container, never, queues=self.queues if queues else None, inputs=self.inputs
        )

    def drop(self, content: bytes, **metadata: str) -> None:
        self.inputs._set(NAME, content, metadata)

    async def receive(self) -> None:
        await receive(self.parts, cast(Any, self.client), NAME)

    async def batches(self) -> list[AcceptedBatch]:
        tickets = [BatchTicket.model_validate(ticket) for ticket in self.client.started.values()]
        found = [await self.parts.batch_store.get("default", ticket.id) for ticket in tickets]
        return [batch for batch in found if batch is not None]


@pytest.fixture
def door() -> Door:
    return Door()


async def test_a_blob_is_a_batch_for_what_its_first_line_asks(door):
    door.drop(chat_file(3))
    await door.receive()
    [batch] = await door.batches()
    assert batch.request.endpoint == CHAT
    assert batch.request.metadata is None
    assert batch.input_blob is not None
    assert batch.input_blob.name == NAME
    assert batch.reply is not None
    assert (batch.reply.queue, batch.reply.correlation_id) == (RESULTS_QUEUE, NAME)


async def test_its_metadata_say_the_rest(door):
    door.drop(jsonl(job_line("a")), endpoint="/v1/jobs", max_failed_share="0.25", team="a")
    await door.receive()
    [batch] = await door.batches()
    assert batch.request.endpoint == "/v1/jobs"
    assert batch.request.max_failed_share == 0.25
    assert batch.request.metadata == {"team": "a"}


async def test_told_twice_it_is_one_batch_and_each_version_is_one(door):
    door.drop(chat_file(3))
    await door.receive()
    await door.receive()
    assert door.client.starts == 1
    door.drop(chat_file(4))
    await door.receive()
    assert len(await door.batches()) == 2


async def test_without_service_bus_nothing_is_announced():
    door = Door(queues=False)
    door.drop(chat_file(3))
    await door.receive()
    [batch] = await door.batches()
    assert batch.reply is None


@pytest.mark.parametrize(
    ("content", "metadata", "code", "said"),
    [
        (b"no lines", {}, "invalid_request", "batch.endpoint"),
        (b"", {}, "invalid_request", "batch.endpoint"),
        (b"x" * 10_001, {}, "payload_too_large", "10,000"),
        (chat_file(1), {"endpoint": "/v1/completions"}, "invalid_request", "endpoint"),
        (chat_file(1), {"max_failed_share": "many"}, "invalid_request", "max_failed_share"),
        (chat_file(1), {"k": "v" * 513}, "invalid_request", "metadata"),
    ],
)
@pytest.mark.parametrize("queues", [True, False])
async def test_what_can_be_no_batch_is_told_once(queues, content, metadata, code, said, caplog):
    door = Door(queues)
    door.drop(content, **metadata)
    await door.receive()
    await door.receive()
    assert door.client.started == {}
    assert said in caplog.text
    if not queues:
        return
    [message] = door.queues.sent[RESULTS_QUEUE].values()
    rejection = json.loads(message.body)
    assert (rejection["object"], rejection["status"]) == ("batch", "rejected")
    assert rejection["error"]["code"] == code
    assert message.correlation_id == NAME
    assert len(message.id) <= 128


async def test_a_blob_that_is_gone_is_none(door, caplog):
    await door.receive()
    assert await door.batches() == []
    assert "removed" in caplog.text


async def test_lost_storage_leaves_the_blob_for_a_later_try(door):
    door.drop(chat_file(3))
    door.inputs.down = True
    with pytest.raises(DependencyUnavailable):
        await door.receive()
    door.inputs.down = False
    door.container.down = True
    with pytest.raises(DependencyUnavailable):
        await door.receive()
    assert door.queues.sent == {}
