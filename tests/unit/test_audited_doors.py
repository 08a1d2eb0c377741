"""What callers end or remove is in the audit log first, and is not done when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
from durabletask.client import OrchestrationStatus

import wiring
from contracts.audit import AuditEvent
from contracts.batches import AcceptedBatch, BatchObject, BatchRequest, FileObject
from contracts.ids import new_batch_id, new_file_id, new_job_id
from contracts.jobs import AcceptedJob, JobRequest
from tests.unit.fakes import FakeDurableClient, MemoryContainer, fake_parts
from tests.unit.http_fakes import asked
from tests.unit.lines_fakes import CHAT, chat_file, streamed
from triggers import jobs
from triggers.openai import batches, files

NOW = datetime(2030, 1, 1, tzinfo=UTC)
JOB, BATCH, FILE = new_job_id(NOW), new_batch_id(NOW), new_file_id(NOW)
ERRORS = new_file_id(NOW)


class Client(FakeDurableClient):
    """Everything that is asked about runs, and never ends."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []
        self.lost = False

    async def get_orchestration_state(
        self, instance_id: str, *, fetch_payloads: bool = True
    ) -> Any:
        return SimpleNamespace(
            instance_id=instance_id,
            runtime_status=OrchestrationStatus.RUNNING,
            serialized_custom_status=None,
            serialized_output=None,
            last_updated_at=NOW,
        )

    async def wait_for_orchestration_completion(self, instance_id: str, *, timeout: int) -> Any:
        raise TimeoutError

    async def raise_orchestration_event(self, instance_id: str, event: str) -> None:
        if self.lost:
            raise Lost
        self.events.append(instance_id)


class Lost(grpc.RpcError):
    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE


class World:
    """A job, a batch and a file of the tenant, each of which may be ended or removed."""

    def __init__(self) -> None:
        async def never(given: Any, run: Any) -> Any:
            raise AssertionError("no flow is run")

        self.container, self.log, self.client = MemoryContainer(), MemoryContainer(), Client()
        self.parts = fake_parts(self.container, never, audited=self.log)

    async def fill(self) -> None:
        await self.parts.jobs.put_request(
            AcceptedJob(
                id=JOB,
                tenant="default",
                created_at=NOW,
                deadline_at=None,
                request=JobRequest(flow="f", input={}),
            )
        )
        file = FileObject(id=FILE, bytes=0, created_at=1, filename="f", purpose="batch")
        await self.parts.files.upload("default", file, streamed([chat_file(1)]))
        errors = file.model_copy(update={"id": ERRORS, "purpose": "batch_output"})
        await self.parts.files.upload("default", errors, streamed([b""]))
        request = BatchRequest(input_file_id=FILE, endpoint=CHAT, completion_window="24h")
        await self.parts.batch_store.accept(
            AcceptedBatch(
                id=BATCH, tenant="default", request=request, created_at=NOW, expires_at=NOW
            )
        )

    async def end_batch(self) -> None:
        ended = BatchObject(
            id=BATCH,
            endpoint=CHAT,
            input_file_id=FILE,
            status="completed",
            created_at=1,
            error_file_id=ERRORS,
        )
        await self.parts.batch_store.end("default", ended)

    def events(self) -> list[AuditEvent]:
        return [AuditEvent.model_validate_json(each) for _, each in sorted(self.log.blobs.items())]

    async def call(self, function: Any, **route_params: str) -> tuple[int, Any]:
        request = asked("POST", "/v1/things", route_params=route_params)
        answer = function._function._func
        if function is files.delete_file:
            response = await answer(request)
        else:  # the binding makes a client of its own
            response = await answer.__wrapped__(request, client=self.client)
        return response.status_code, json.loads(response.body)


type Deed = Callable[[World], Awaitable[tuple[int, Any]]]


async def cancel_job(it: World) -> tuple[int, Any]:
    return await it.call(jobs.cancel_job, job_id=JOB)


async def cancel_batch(it: World) -> tuple[int, Any]:
    return await it.call(batches.cancel_batch, batch_id=BATCH)


async def retry_batch(it: World) -> tuple[int, Any]:
    await it.end_batch()
    return await it.call(batches.retry_batch, batch_id=BATCH)


async def delete_file(it: World) -> tuple[int, Any]:
    return await it.call(files.delete_file, file_id=FILE)


DEEDS = pytest.mark.parametrize(
    ("deed", "action", "target"),
    [
        (cancel_job, "job.cancelled", JOB),
        (cancel_batch, "batch.cancelled", BATCH),
        (retry_batch, "batch.retried", BATCH),
        (delete_file, "file.deleted", FILE),
    ],
)


@pytest.fixture
async def it(monkeypatch: pytest.MonkeyPatch) -> World:
    it = World()
    await it.fill()
    monkeypatch.setattr(wiring, "parts", lambda: it.parts)
    return it


@DEEDS
async def test_it_is_noted_who_did_what(it: World, deed: Deed, action: str, target: str):
    status, answered = await deed(it)
    assert status in (200, 202), answered
    [event] = it.events()
    assert (event.tenant, event.subject) == ("default", "platform-key")
    assert (event.action, event.target, event.outcome) == (action, target, "accepted")


@DEEDS
async def test_what_cannot_be_noted_is_refused_and_not_done(
    it: World, deed: Deed, action: str, target: str
):
    if deed is retry_batch:
        await it.end_batch()
    before = dict(it.container.blobs)
    it.log.down = True
    status, _ = await deed(it)
    assert status == 503
    assert it.container.blobs == before
    assert it.client.events == []
    assert it.client.started == {}


async def test_a_cancellation_that_fails_is_noted_as_failed(it: World):
    it.client.lost = True
    assert (await cancel_job(it))[0] == 503
    assert sorted(event.outcome for event in it.events()) == ["accepted", "failed"]


async def test_what_is_not_there_is_not_noted(it: World):
    for function, name in (
        (jobs.cancel_job, "job_id"),
        (batches.cancel_batch, "batch_id"),
        (files.delete_file, "file_id"),
    ):
        status, _ = await it.call(function, **{name: "none"})
        assert status == 404
    assert it.log.blobs == {}
