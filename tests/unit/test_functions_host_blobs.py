"""Blob triggers of the local host: each version of a blob once, whatever goes wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from azure.core.exceptions import ServiceRequestError

from devhost.functions_host.app_loader import AppError, AppFunction
from devhost.functions_host.blob_pump import LOOK_EVERY_SECONDS, MOST_TRIES, BlobPump
from devhost.functions_host.blob_receipts import BlobReceipts
from devhost.functions_host.blob_triggers import BlobTrigger, triggers_of, why_unserved
from devhost.stack.plan import blob_connection_string
from tests.unit.functions_host_fakes import function, invoker
from triggers.blob_reference import BlobReference

CONNECTION = blob_connection_string(10000)
ENVIRON = {"AzureWebJobsStorage": CONNECTION, "Other": CONNECTION}


async def receive(blob: BlobReference) -> None:
    return None


def blob_function(call: Any = receive, **properties: str) -> AppFunction:
    given = {"path": "inputs/{name}.jsonl", "connection": "AzureWebJobsStorage"} | properties
    return function(call, "blobTrigger", "blob", **given)


def trigger(call: Any = receive, **properties: str) -> BlobTrigger:
    [found] = triggers_of([blob_function(call, **properties)], ENVIRON)
    return found


# What a trigger asks for.


@pytest.mark.parametrize(
    ("path", "name", "matches"),
    [
        ("inputs/{name}.jsonl", "june.jsonl", True),
        ("inputs/{name}.jsonl", "team/a/june.jsonl", True),
        ("inputs/{name}.jsonl", "june.json", False),
        ("inputs/{name}.jsonl", ".jsonl", False),
        ("inputs/{name}.jsonl", "junexjsonl", False),
        ("inputs/june/{name}", "june/a", True),
        ("inputs/june/{name}", "july/a", False),
        ("inputs/{folder}/{name}.jsonl", "a/b.jsonl", True),
        ("inputs/exactly", "exactly", True),
        ("inputs/%Other%", "x", False),
    ],
)
def test_names_that_match(path, name, matches):
    found = trigger(path=path)
    assert found.container == "inputs"
    assert (found.name.fullmatch(name) is not None) is matches
    assert not matches or name.startswith(found.prefix)


@pytest.mark.parametrize(
    "path", ["", "inputs", "inputs/", "/{name}", "{container}/{name}", "%No%/x"]
)
def test_a_path_that_is_none(path):
    with pytest.raises(AppError, match="receive"):
        trigger(path=path)


def test_a_function_without_its_connection_is_not_served():
    missing = blob_function(connection="Nowhere")
    assert why_unserved(missing, ENVIRON) == "setting Nowhere is not set"
    with pytest.raises(AppError, match="Nowhere"):
        triggers_of([missing], ENVIRON)


def test_a_function_that_wants_the_content_is_not_served():
    async def whole(blob: bytes) -> None:
        return None

    assert "no SDK type" in str(why_unserved(blob_function(whole), ENVIRON))


def test_the_function_is_given_a_reference_to_the_blob():
    blob: Any = trigger().value("team/june 1.jsonl")
    assert (blob.container, blob.name) == ("inputs", "team/june 1.jsonl")


# The pump.


class Container:
    """Its blobs, and a function that is called with them."""

    def __init__(self, receipts: BlobReceipts) -> None:
        self.blobs: dict[str, str] = {}
        self.called: list[str] = []
        self.fails = 0
        self.away = 0
        self.slept: list[float] = []
        self.gate: asyncio.Event | None = None
        self.receipts = receipts

    async def receive(self, blob: BlobReference) -> None:
        self.called.append(blob.name)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise ValueError("no")

    async def list(self, trigger: BlobTrigger) -> dict[str, str]:
        if self.away:
            self.away -= 1
            raise ServiceRequestError("away")
        return dict(self.blobs)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def pump(self) -> BlobPump:
        async def called(blob: BlobReference) -> None:
            await self.receive(blob)

        return BlobPump([trigger(called)], invoker(), self.receipts, self.list, self.sleep)

    async def looks(self, times: int, pump: BlobPump) -> None:
        """Let it look so often."""
        until = self.slept.count(LOOK_EVERY_SECONDS) + times
        await pump.start()
        while self.slept.count(LOOK_EVERY_SECONDS) < until:
            await asyncio.sleep(0)
        await pump.stop(1)


@pytest.fixture
def container(tmp_path) -> Container:
    return Container(BlobReceipts(tmp_path / "state" / "blobs.json"))


async def test_each_version_of_a_blob_is_given_once(container):
    container.blobs = {"a.jsonl": "1", "b.jsonl": "1"}
    await container.looks(5, container.pump())
    assert sorted(container.called) == ["a.jsonl", "b.jsonl"]
    container.blobs["a.jsonl"] = "2"
    await container.looks(5, container.pump())
    assert sorted(container.called) == ["a.jsonl", "a.jsonl", "b.jsonl"]


async def test_what_was_given_is_known_after_a_restart(container, tmp_path):
    container.blobs = {"a.jsonl": "1"}
    await container.looks(2, container.pump())
    container.receipts = BlobReceipts(tmp_path / "state" / "blobs.json")
    await container.looks(2, container.pump())
    assert container.called == ["a.jsonl"]


async def test_what_is_gone_is_forgotten(container, tmp_path):
    container.blobs = {"a.jsonl": "1"}
    await container.looks(2, container.pump())
    container.blobs = {}
    await container.looks(2, container.pump())
    assert "a.jsonl" not in (tmp_path / "state" / "blobs.json").read_text()


async def test_a_call_that_raises_is_made_again(container):
    container.blobs = {"a.jsonl": "1"}
    container.fails = 2
    await container.looks(8, container.pump())
    assert container.called == ["a.jsonl"] * 3


async def test_it_gives_up_after_a_few_tries_and_says_so(container, caplog):
    container.blobs = {"a.jsonl": "1", "b.jsonl": "1"}
    container.fails = 100
    await container.looks(20, container.pump())
    assert container.called.count("a.jsonl") == MOST_TRIES
    assert "gave up on blob a.jsonl" in caplog.text
    container.fails = 0
    await container.looks(3, container.pump())
    assert container.called.count("a.jsonl") == MOST_TRIES


async def test_storage_that_is_away_is_said_once_and_tried_on(container, caplog):
    container.blobs = {"a.jsonl": "1"}
    container.away = 5
    await container.looks(10, container.pump())
    assert container.called == ["a.jsonl"]
    assert caplog.text.count("Cannot look for blobs") == 1


async def test_a_call_that_runs_when_the_host_stops_may_end(container):
    container.blobs = {"a.jsonl": "1"}
    container.gate = asyncio.Event()
    pump = container.pump()
    await pump.start()
    while not container.called:
        await asyncio.sleep(0)
    asyncio.get_running_loop().call_later(0.05, container.gate.set)
    await pump.stop(5)
    assert container.receipts.has("called", "a.jsonl", "1")


async def test_a_call_that_does_not_end_in_time_is_made_again_by_the_next_start(container):
    container.blobs = {"a.jsonl": "1"}
    container.gate = asyncio.Event()
    pump = container.pump()
    await pump.start()
    while not container.called:
        await asyncio.sleep(0)
    await pump.stop(0.01)
    assert not container.receipts.has("called", "a.jsonl", "1")


def test_receipts_that_cannot_be_written_stop_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    receipts = BlobReceipts(None)
    receipts.add("f", "a", "1")
    assert receipts.has("f", "a", "1")
    broken = BlobReceipts(tmp_path / "state.json")
    broken._file = tmp_path / "file" / "blobs.json"
    broken.add("f", "a", "1")
    assert broken.has("f", "a", "1")
    assert "cannot be noted" in caplog.text
