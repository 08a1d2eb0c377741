"""The batches door: created once, shown as far as it has come, cancelled, run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationStatus

import wiring
from contracts.batches import (
    BatchObject,
    FileObject,
    LineProblem,
    LineProblems,
    Tokens,
)
from contracts.ids import is_batch_id
from contracts.names import CANCEL_EVENT, MOST_LANES
from stores.batches import Note
from tests.unit.fakes import FakeDurableClient, MemoryContainer, fake_parts
from tests.unit.http_fakes import asked
from tests.unit.lines_fakes import CHAT, chat_file, streamed
from triggers.openai import batches as door

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Lost(grpc.RpcError):
    def __init__(self, status: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._status


@dataclass
class Client(FakeDurableClient):
    """Knows of each batch that was started; `shown` is what its orchestration tells of itself."""

    shown: dict[str, Any] | None = None
    status: OrchestrationStatus = OrchestrationStatus.RUNNING
    events: list[tuple[str, str]] = field(default_factory=list)
    event_error: Callable[[str], Exception | None] = lambda instance: None
    lost: bool = False

    async def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> Any:
        if self.lost:
            raise Lost
        if instance_id not in self.started:
            return None
        told = None if self.shown is None else json.dumps(self.shown)
        return SimpleNamespace(
            runtime_status=self.status, serialized_custom_status=told, last_updated_at=NOW
        )

    async def raise_orchestration_event(self, instance_id: str, event: str) -> None:
        if error := self.event_error(instance_id):
            raise error
        self.events.append((instance_id, event))


class Door:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.container = MemoryContainer()
        self.client = Client()

        async def never(given: Any, run: Any) -> Any:
            raise AssertionError("the door runs no flow")

        self.parts = fake_parts(self.container, never)
        monkeypatch.setattr(wiring, "parts", lambda: self.parts)

    async def upload(self, file_id: str = "file-1", purpose: Any = "batch") -> None:
        file = FileObject(id=file_id, bytes=0, created_at=1, filename="f", purpose=purpose)
        await self.parts.files.upload("default", file, streamed([chat_file(3)]))

    async def post(self, key: str | None = None, **changes: Any) -> tuple[int, Any]:
        body = {"input_file_id": "file-1", "endpoint": CHAT, "completion_window": "24h"} | changes
        headers = {"Idempotency-Key": key} if key else {}
        return await self.call(door.create_batch, body=body, headers=headers)

    async def call(
        self, function: Any, batch_id: str = "", body: Any = None, **request: Any
    ) -> tuple[int, Any]:
        given = asked(
            "POST",
            "/v1/batches",
            json.dumps(body).encode(),
            route_params={"batch_id": batch_id},
            **request,
        )
        unbound = function._function._func.__wrapped__  # which makes a client of a binding
        response = await unbound(given, client=self.client)
        return response.status_code, json.loads(response.body)

    async def created(self, **changes: Any) -> str:
        await self.upload()
        status, batch = await self.post(**changes)
        assert status == 200, batch
        return str(batch["id"])

    async def end(self, batch_id: str, status: Any = "completed", **changes: Any) -> BatchObject:
        ended = BatchObject(
            id=batch_id,
            endpoint="/v1/chat/completions",
            input_file_id="file-1",
            status=status,
            created_at=1,
        ).model_copy(update=changes)
        await self.parts.batch_store.end("default", ended)
        return ended


@pytest.fixture
def it(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


# Created.


async def test_a_batch_is_kept_and_started(it):
    await it.upload()
    status, batch = await it.post(metadata={"team": "a"})
    assert status == 200
    assert is_batch_id(batch["id"])
    assert (batch["status"], batch["endpoint"], batch["metadata"]) == (
        "validating",
        CHAT,
        {"team": "a"},
    )
    assert batch["expires_at"] - batch["created_at"] == 24 * 3600
    [ticket] = it.client.started.values()
    assert ticket["id"] == batch["id"]
    assert ticket["announce"] is False
    accepted = await it.parts.batch_store.get("default", batch["id"])
    assert accepted is not None
    assert accepted.request.input_file_id == "file-1"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": "file-2"}, "input_file_id"),
        ({"input_file_id": ""}, "input_file_id"),
        ({"endpoint": "/v1/completions"}, "endpoint"),
        ({"completion_window": "7d"}, "completion_window"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata." + "k" * 65 + ".[key]"),
        ({"metadata": {"k": "v" * 513}}, "metadata.k"),
        ({"max_failed_share": 0}, "max_failed_share"),
        ({"max_failed_share": 1.5}, "max_failed_share"),
    ],
)
async def test_what_is_no_batch_is_refused_and_nothing_is_kept(it, changes, param):
    await it.upload()
    before = set(it.container.blobs)
    status, error = await it.post(**changes)
    assert status == 400
    assert error["error"]["param"] == param
    assert set(it.container.blobs) == before
    assert it.client.started == {}


async def test_a_file_that_a_batch_wrote_is_no_input(it):
    await it.upload(purpose="batch_output")
    status, error = await it.post()
    assert (status, error["error"]["param"]) == (400, "input_file_id")


async def test_fields_that_openai_may_add_are_left_out(it):
    await it.created(output_expires_after={"anchor": "created_at", "seconds": 3600})


async def test_a_repeat_with_the_same_key_is_the_same_batch(it):
    await it.upload()
    (_, first), (_, second) = [await it.post(key="k") for _ in range(2)]
    assert first["id"] == second["id"]
    assert it.client.starts == 1
    _, other = await it.post(key="other")
    assert other["id"] != first["id"]


async def test_a_repeat_after_the_file_was_deleted_is_the_same_batch(it):
    batch_id = await it.created(key="k")
    await it.parts.files.delete("default", "file-1")
    assert (await it.post(key="k"))[1]["id"] == batch_id


async def test_a_key_belongs_to_one_request(it):
    await it.created(key="k")
    status, error = await it.post(key="k", metadata={"a": "b"})
    assert (status, error["error"]["code"]) == (422, "idempotency_key_reused")


async def test_a_batch_that_could_not_be_started_is_none_and_the_repeat_starts_it(it):
    await it.upload()
    it.client.lost = True
    status, _ = await it.post(key="k")
    assert status == 503
    it.client.lost = False
    assert (await it.call(door.list_batches))[1]["data"] == []
    [kept] = [n.rpartition("/")[2] for n in it.container.blobs if "/batches/" in n]
    assert (await it.call(door.get_batch, kept))[0] == 404
    status, batch = await it.post(key="k")
    assert (status, batch["id"]) == (200, kept)


# Shown.


async def test_a_batch_is_shown_as_far_as_it_has_come(it):
    batch_id = await it.created()
    it.client.shown = {
        "status": "in_progress",
        "total": 3,
        "times": {"in_progress_at": NOW.isoformat(), "finalizing_at": None},
    }
    store, name = it.parts.batch_store, it.parts.batch_store.part_name
    tokens = Tokens(input=5)
    await store.take(name("default", batch_id, 0, "out"), Note(run="r", lines=2, tokens=tokens))
    await store.take(name("default", batch_id, 0, "err"), Note(run="r", lines=1))
    await store.take(name("default", batch_id, 0, "left"), Note(run="r", lines=9))
    status, batch = await it.call(door.get_batch, batch_id)
    assert (status, batch["status"]) == (200, "in_progress")
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert batch["usage"]["input_tokens"] == 5
    assert batch["in_progress_at"] == int(NOW.timestamp())


async def test_a_batch_that_has_ended_is_shown_as_it_ended(it):
    batch_id = await it.created()
    it.client.lost = True
    problem = LineProblem(code="empty_batch", message="No lines.")
    ended = await it.end(batch_id, "failed", errors=LineProblems(data=[problem]))
    assert await it.call(door.get_batch, batch_id) == (200, ended.model_dump(mode="json"))


async def test_who_prefers_to_wait_is_answered_when_it_has_ended(it):
    batch_id, waited = await it.created(), []

    async def wait(instance: str, *, timeout: int) -> None:
        waited.append((instance, timeout))
        await it.end(instance, "completed")

    it.client.wait_for_orchestration_completion = wait
    _, batch = await it.call(door.get_batch, batch_id, headers={"Prefer": "wait=7"})
    assert batch["status"] == "completed"
    assert waited == [(batch_id, 7)]


@pytest.mark.parametrize("status", [OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED])
async def test_a_batch_whose_orchestration_failed_has_failed(it, status):
    batch_id = await it.created()
    it.client.status = status
    _, batch = await it.call(door.get_batch, batch_id)
    assert batch["status"] == "failed"
    assert batch["failed_at"] == int(NOW.timestamp())
    assert batch["errors"]["data"][0]["code"] == "service_fault"


async def test_without_the_hub_nobody_knows_and_that_is_said(it):
    batch_id = await it.created()
    it.client.lost = True
    assert (await it.call(door.get_batch, batch_id))[0] == 503


async def test_pages_of_batches(it):
    ids = [await it.created(metadata={"n": str(n)}) for n in range(5)]
    _, page = await it.call(door.list_batches, query={"limit": "3"})
    assert len(page["data"]) == 3
    assert page["has_more"] is True
    assert (page["first_id"], page["last_id"]) == (page["data"][0]["id"], page["data"][2]["id"])
    _, rest = await it.call(door.list_batches, query={"after": page["last_id"]})
    assert rest["has_more"] is False
    assert {each["id"] for each in [*page["data"], *rest["data"]]} == set(ids)


@pytest.mark.parametrize("limit", ["0", "101", "x"])
async def test_a_page_has_a_size(it, limit):
    status, error = await it.call(door.list_batches, query={"limit": limit})
    assert (status, error["error"]["param"]) == (400, "limit")


@pytest.mark.parametrize("batch_id", ["batch_1", "../ends/x", "", "file-" + "0" * 34])
@pytest.mark.parametrize("function", [door.get_batch, door.cancel_batch, door.retry_batch])
async def test_what_is_no_batch_id_is_not_looked_up(it, function, batch_id):
    status, error = await it.call(function, batch_id)
    assert (status, error["error"]["code"]) == (404, "not_found")
    assert it.container.calls == {}


# Cancelled.


async def test_a_cancelled_batch_is_marked_and_its_lanes_are_woken(it):
    batch_id = await it.created()
    # Not all lanes have been started, and some have ended.
    codes = [grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION]
    it.client.event_error = lambda instance: (
        Lost(codes[int(instance[-1])]) if instance[-1] in "01" else None
    )
    status, batch = await it.call(door.cancel_batch, batch_id)
    assert (status, batch["status"]) == (200, "cancelling")
    assert batch["cancelling_at"] is not None
    lanes = {f"{batch_id}-lane-{n}" for n in range(2, MOST_LANES)}
    assert it.client.events and set(it.client.events) == {(lane, CANCEL_EVENT) for lane in lanes}
    mark = await it.parts.batch_store.stopped("default", batch_id)
    assert mark is not None
    assert mark.why == "cancelled"
    assert (await it.call(door.cancel_batch, batch_id))[0] == 200, "again is no error"


async def test_a_batch_that_has_ended_cannot_be_cancelled_but_one_that_was_can(it):
    batch_id = await it.created()
    await it.end(batch_id)
    status, error = await it.call(door.cancel_batch, batch_id)
    assert (status, error["error"]["code"]) == (409, "conflict")
    assert "completed" in error["error"]["message"]
    await it.end(batch_id, "cancelled")
    assert (await it.call(door.cancel_batch, batch_id))[1]["status"] == "cancelled"


async def test_lanes_that_cannot_be_told_are_told_by_the_next_try(it):
    batch_id = await it.created()
    it.client.event_error = lambda instance: Lost()
    assert (await it.call(door.cancel_batch, batch_id))[0] == 503


# Run again.


async def test_the_failed_lines_are_run_again_as_a_batch_of_their_own(it):
    batch_id = await it.created(metadata={"team": "a"})
    errors = b"".join(
        json.dumps({"custom_id": f"r{n}", "response": None, "error": {}}).encode() + b"\n"
        for n in (0, 2)
    )
    error_file = FileObject(
        id="file-err", bytes=0, created_at=1, filename="e", purpose="batch_output"
    )
    await it.parts.files.upload("default", error_file, streamed([errors]))
    await it.end(batch_id, error_file_id="file-err")
    status, batch = await it.call(door.retry_batch, batch_id)
    assert status == 200
    assert batch["metadata"] == {"team": "a", "retry_of": batch_id}
    stored = await it.parts.files.get("default", batch["input_file_id"])
    assert stored is not None
    content = b"".join([piece async for piece in it.parts.files.content(stored)])
    assert [json.loads(line)["custom_id"] for line in content.splitlines()] == ["r0", "r2"]
    assert batch["id"] in it.client.started


@pytest.mark.parametrize("ended", [False, True])
async def test_what_cannot_be_run_again(it, ended):
    batch_id = await it.created()
    if ended:
        await it.end(batch_id)
    status, error = await it.call(door.retry_batch, batch_id)
    assert (status, error["error"]["code"]) == (409, "conflict")
    assert ("failed" if ended else "ended") in error["error"]["message"]


async def test_a_full_metadata_still_says_of_what_it_is_the_retry(it):
    batch_id = await it.created(metadata={str(n): "" for n in range(16)})
    error_file = FileObject(
        id="file-err", bytes=0, created_at=1, filename="e", purpose="batch_output"
    )
    await it.parts.files.upload("default", error_file, streamed([b""]))
    await it.end(batch_id, error_file_id="file-err")
    _, batch = await it.call(door.retry_batch, batch_id)
    assert batch["metadata"]["retry_of"] == batch_id
    assert len(batch["metadata"]) == 16
