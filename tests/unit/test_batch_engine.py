"""The steps of a batch, from its file to its files, over storage in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from batches import planning, slices
from batches.engine import Batches
from batches.retrying import failed_lines
from contracts.batches import (
    AcceptedBatch,
    BatchObject,
    BatchRequest,
    BatchTicket,
    BatchTimes,
    CommitTicket,
    FileObject,
    InputBlob,
    SliceOutcome,
    SliceTicket,
    Validation,
)
from contracts.calls import Attempt, CallHandle, CallScope, ModelAnswer, ModelCall, Task, Usage
from contracts.errors import CallPending, CallRejected, DependencyUnavailable
from tests.unit.fakes import FakeEndpoints, MemoryContainer, fake_parts
from tests.unit.lines_fakes import CHAT, chat_file, chat_line, job_line, jsonl, streamed

NOW = datetime.now(UTC)
REQUEST = BatchRequest(input_file_id="file-in", endpoint=CHAT, completion_window="24h")


def attempt(number: int = 1) -> Attempt:
    return Attempt(
        model="chat",
        deployment="d",
        outcome="answered",
        started_at=NOW,
        seconds=0.1,
        request_id=f"req-{number}",
        usage=Usage(input_tokens=2, output_tokens=3),
    )


async def answers(call: ModelCall, scope: CallScope) -> ModelAnswer:
    scope.attempts.append(attempt())
    return ModelAnswer({"usage": {"prompt_tokens": 2, "completion_tokens": 3}}, attempt())


class World:
    """One batch, and all that its steps work with."""

    def __init__(self, answer: Any = answers, **changes: Any) -> None:
        self.calls: list[ModelCall] = []
        self.answer = answer
        self.container, self.inputs = MemoryContainer(), MemoryContainer(name="batch-inputs")
        self.endpoints = FakeEndpoints(self._answer)

        async def run_flow(given: dict[str, Any], run: Any) -> Any:
            return (await run.invoke(ModelCall("chat", Task.CHAT, given))).body

        parts = fake_parts(self.container, run_flow, self.endpoints, inputs=self.inputs)
        self.batches: Batches = parts.batches
        self.batch = AcceptedBatch(
            id="batch_00000000000001aa",
            tenant="default",
            request=REQUEST.model_copy(update=changes.pop("request", {})),
            created_at=NOW,
            expires_at=NOW + timedelta(hours=24),
        ).model_copy(update=changes)
        self.ticket = BatchTicket(
            id=self.batch.id, tenant="default", expires_at=self.batch.expires_at
        )

    async def _answer(self, call: ModelCall, scope: CallScope) -> ModelAnswer:
        self.calls.append(call)
        return cast(ModelAnswer, await self.answer(call, scope))

    async def begin(self, data: bytes) -> Validation:
        """Upload, accept, validate."""
        file = FileObject(id="file-in", bytes=0, created_at=0, filename="in.jsonl", purpose="batch")
        await self.batches.files.upload("default", file, streamed([data]))
        await self.batches.store.accept(self.batch)
        return await self.batches.validate(self.ticket)

    async def run(self, index: int = 0) -> SliceOutcome:
        return await self.batches.run_slice(SliceTicket(batch=self.ticket, index=index))

    async def commit(self) -> BatchObject:
        times = BatchTimes(in_progress_at=NOW, finalizing_at=NOW + timedelta(seconds=9))
        ticket = CommitTicket(batch=self.ticket, times=times, now=NOW + timedelta(seconds=10))
        return await self.batches.commit(ticket)

    async def carried(self, data: bytes) -> BatchObject:
        """From the file to the end."""
        validation = await self.begin(data)
        for index in range(validation.slices):
            await self.run(index)
        return await self.commit()

    async def lines(self, file_id: str | None) -> dict[str, dict[str, Any]]:
        """Of a file, by custom_id."""
        if file_id is None:
            return {}
        stored = await self.batches.files.get("default", file_id)
        assert stored is not None
        data = b"".join([piece async for piece in self.batches.files.content(stored)])
        assert len(data) == stored.file.bytes
        lines = [json.loads(line) for line in data.splitlines()]
        by_id = {line["custom_id"]: line for line in lines}
        assert len(by_id) == len(lines)
        return by_id

    async def ids(self, ended: BatchObject) -> tuple[set[str], dict[str, str]]:
        """Who was answered, and the codes of the others."""
        out = await self.lines(ended.output_file_id)
        err = await self.lines(ended.error_file_id)
        assert not out.keys() & err.keys()
        return set(out), {
            custom_id: (line["error"] or line["response"]["body"]["error"])["code"]
            for custom_id, line in err.items()
        }


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SLICE_LINES", 4)


# From the file to the files.


async def test_a_batch_is_carried_from_its_file_to_its_files():
    world = World()
    assert await world.begin(chat_file(10)) == Validation(slices=3, lines=10)
    for index in range(3):
        assert (await world.run(index)).remaining == 0
    ended = await world.commit()
    assert ended.status == "completed"
    assert ended.model == "chat"
    assert ended.request_counts.model_dump() == {"total": 10, "completed": 10, "failed": 0}
    assert ended.usage is not None
    assert (ended.usage.input_tokens, ended.usage.total_tokens) == (20, 50)
    assert ended.error_file_id is None
    assert (ended.in_progress_at, ended.finalizing_at) == (
        int(NOW.timestamp()),
        int((NOW + timedelta(seconds=9)).timestamp()),
    )
    lines = await world.lines(ended.output_file_id)
    assert list(lines) == [f"r{n}" for n in range(10)]
    assert lines["r0"]["response"]["status_code"] == 200
    assert lines["r0"]["response"]["request_id"] == "req-1"
    assert await world.batches.store.ended("default", world.batch.id) == ended


async def test_a_call_is_the_lines_body_without_the_model():
    world = World()
    body = {"model": "chat@2", "messages": [], "top_p": 0.5}
    await world.carried(jsonl(chat_line("a", body=body)))
    assert world.calls == [ModelCall("chat@2", Task.CHAT, {"messages": [], "top_p": 0.5})]
    assert "model" in body


@pytest.mark.parametrize(
    ("endpoint", "task"), [("/v1/embeddings", Task.EMBEDDINGS), ("/v1/responses", Task.RESPONSES)]
)
async def test_the_endpoint_says_what_is_asked(endpoint, task):
    world = World(request={"endpoint": endpoint})
    line = chat_line("a", url=endpoint, body={"model": "chat", "input": "hi"})
    assert (await world.carried(jsonl(line))).status == "completed"
    assert world.calls == [ModelCall("chat", task, {"input": "hi"})]


async def test_all_lines_failed_and_the_batch_is_completed_all_the_same():
    async def refuses(call: ModelCall, scope: CallScope) -> ModelAnswer:
        raise CallRejected("No.")

    world = World(refuses)
    ended = await world.carried(chat_file(5))
    assert (ended.status, ended.output_file_id) == ("completed", None)
    assert ended.request_counts.failed == 5
    assert set((await world.ids(ended))[1].values()) == {"model_rejected_request"}


async def test_a_batch_committed_again_is_as_it_was():
    world = World()
    ended = await world.carried(chat_file(3))
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    assert await world.commit() == ended
    files = await world.batches.files.page("default", after=None, most=10)
    assert len(files.files) == 2


async def test_a_file_that_is_deleted_takes_its_slices_with_it():
    world = World()
    ended = await world.carried(chat_file(9))
    assert await world.batches.files.delete("default", str(ended.output_file_id))
    left = [name for name, data in world.container.blobs.items() if name.endswith(".out") and data]
    assert left == []


async def test_a_step_of_a_batch_that_storage_lost_says_so():
    world = World()
    with pytest.raises(Exception, match="no longer in storage"):
        await world.run()


# What is wrong with the input.


async def test_an_input_with_problems_fails_the_batch_with_each_and_calls_nothing():
    world = World()
    data = chat_file(2) + b"{\n" + jsonl(chat_line("r0"))
    assert (await world.begin(data)).problems == 2
    ended = await world.commit()
    assert ended.status == "failed"
    assert ended.errors is not None
    assert [(problem.code, problem.line) for problem in ended.errors.data] == [
        ("invalid_json_line", 3),
        ("duplicate_custom_id", 4),
    ]
    assert (ended.output_file_id, ended.error_file_id, ended.usage) == (None, None, None)
    assert ended.request_counts.total == 0
    assert world.calls == []


async def test_an_input_that_was_deleted_before_it_was_read():
    world = World()
    await world.batches.store.accept(world.batch)
    assert (await world.batches.validate(world.ticket)).problems == 1
    ended = await world.commit()
    assert ended.errors is not None
    assert "deleted" in ended.errors.data[0].message


async def test_an_input_that_is_deleted_while_the_batch_runs_ends_it():
    world = World()
    await world.begin(chat_file(10))
    await world.run(0)
    await world.batches.files.delete("default", "file-in")
    assert (await world.run(1)).stopped
    assert (await world.run(2)).stopped
    ended = await world.commit()
    assert ended.status == "failed"
    assert ended.errors is not None
    assert "deleted" in ended.errors.data[0].message
    assert ended.request_counts.model_dump() == {"total": 10, "completed": 4, "failed": 0}
    assert len((await world.ids(ended))[0]) == 4


# Stopped before its end.


async def test_a_cancelled_batch_keeps_what_has_ended_and_says_what_has_not():
    world = World()
    await world.begin(chat_file(10))
    await world.run(0)
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    assert (await world.run(1)).stopped
    ended = await world.commit()
    assert ended.status == "cancelled"
    assert ended.cancelled_at is not None
    assert ended.cancelling_at is not None
    assert ended.request_counts.model_dump() == {"total": 10, "completed": 4, "failed": 6}
    out, err = await world.ids(ended)
    assert out == {f"r{n}" for n in range(4)}
    assert err == {f"r{n}": "batch_cancelled" for n in range(4, 10)}
    assert len(world.calls) == 4


async def test_a_batch_past_its_time_stops_by_itself_and_says_which_lines_were_not_run():
    world = World(expires_at=datetime.now(UTC) + timedelta(milliseconds=150))
    await world.begin(chat_file(10))
    await world.run(0)
    await asyncio.sleep(0.2)
    assert (await world.run(1)).stopped
    ended = await world.commit()
    assert ended.status == "expired"
    assert ended.expired_at is not None
    assert set((await world.ids(ended))[1].values()) == {"batch_expired"}


async def test_lines_that_ended_while_the_batch_was_stopped_are_not_said_twice():
    """A slice that is half through."""

    async def some(call: ModelCall, scope: CallScope) -> ModelAnswer:
        if len(world.calls) > 2:
            await asyncio.Event().wait()
        return await answers(call, scope)

    world = World(some)
    await world.begin(chat_file(4))
    running = asyncio.create_task(world.run(0))
    while len(world.calls) < 4 or not any(world.container.blobs[n] for n in outs(world)):
        await asyncio.sleep(0)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    out, err = await world.ids(await world.commit())
    assert (len(out), len(err)) == (2, 2)


def outs(world: World) -> list[str]:
    return [name for name in world.container.blobs if name.endswith(".out")]


async def test_a_commit_that_was_interrupted_is_made_good_by_the_next():
    world = World()
    await world.begin(chat_file(40))
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    for turns in range(0, 400, 25):
        committing = asyncio.create_task(world.commit())
        for _ in range(turns):
            await asyncio.sleep(0)
        committing.cancel()
        with suppress(asyncio.CancelledError):
            await committing
    ended = await world.commit()
    assert len((await world.ids(ended))[1]) == 40
    assert ended.request_counts.failed == 40


async def test_a_run_that_is_still_under_way_when_the_batch_is_committed_changes_nothing_more():
    gate = asyncio.Event()

    async def late(call: ModelCall, scope: CallScope) -> ModelAnswer:
        await gate.wait()
        return await answers(call, scope)

    world = World(late)
    await world.begin(chat_file(3))
    running = asyncio.create_task(world.run(0))
    while len(world.calls) < 3:
        await asyncio.sleep(0)
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    ended = await world.commit()
    gate.set()
    with pytest.raises(DependencyUnavailable):
        await running
    assert await world.ids(ended) == (set(), {f"r{n}": "batch_cancelled" for n in range(3)})


async def test_lines_that_were_not_run_though_nobody_stopped_the_batch_are_a_fault():
    world = World()
    await world.begin(chat_file(10))
    await world.run(0)
    ended = await world.commit()
    assert ended.status == "failed"
    assert ended.errors is not None
    assert ended.errors.data[0].code == "service_fault"
    assert len((await world.ids(ended))[1]) == 6


# Too many failures.


async def test_a_batch_of_which_too_many_lines_fail_is_stopped_early(monkeypatch):
    monkeypatch.setattr(planning, "SLICE_LINES", 200)
    monkeypatch.setattr(slices, "LOOK_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(slices, "GRACE_SECONDS", 0.1)

    async def mostly_refuses(call: ModelCall, scope: CallScope) -> ModelAnswer:
        number = len(world.calls)
        await asyncio.sleep(0.001)
        if number % 4:
            raise CallRejected("No.")
        return await answers(call, scope)

    world = World(mostly_refuses, request={"max_failed_share": 0.5})
    validation = await world.begin(chat_file(2000))
    for index in range(validation.slices):
        await world.run(index)
    ended = await world.commit()
    assert ended.status == "failed"
    assert ended.errors is not None
    assert ended.errors.data[0].code == "too_many_failures"
    assert "50%" in ended.errors.data[0].message
    assert len(world.calls) < 1000
    out, err = await world.ids(ended)
    assert len(out) + len(err) == 2000
    assert "batch_failed" in err.values()


async def test_failures_of_a_smaller_share_stop_nothing(monkeypatch):
    monkeypatch.setattr(planning, "SLICE_LINES", 400)

    async def at_times(call: ModelCall, scope: CallScope) -> ModelAnswer:
        if len(world.calls) % 3:
            raise CallRejected("No.")
        return await answers(call, scope)

    world = World(at_times, request={"max_failed_share": 0.7})
    ended = await world.carried(chat_file(1200))
    assert ended.status == "completed"
    assert ended.request_counts.failed == 800


async def test_one_slice_of_failures_is_no_whole_batch(monkeypatch):
    """The share is of all lines that have ended, wherever they stand."""
    monkeypatch.setattr(planning, "SLICE_LINES", 150)

    async def second_slice(call: ModelCall, scope: CallScope) -> ModelAnswer:
        if 450 < len(world.calls) <= 600:
            raise CallRejected("No.")
        return await answers(call, scope)

    world = World(second_slice, request={"max_failed_share": 0.5})
    assert (await world.carried(chat_file(900))).status == "completed"


# Lines that are jobs.


async def test_lines_run_flows_and_tell_what_those_used():
    world = World(request={"endpoint": "/v1/jobs"})
    ended = await world.carried(jsonl(job_line("a"), job_line("b", input={"text": "ho"})))
    assert ended.status == "completed"
    assert ended.model is None
    assert ended.usage is not None
    assert ended.usage.total_tokens == 10
    lines = await world.lines(ended.output_file_id)
    assert lines["a"]["response"]["usage"]["input_tokens"] == 2
    assert {scope.job_id for scope in world.endpoints.scopes} == {
        f"{world.batch.id}/a",
        f"{world.batch.id}/b",
    }
    assert {scope.batch_id for scope in world.endpoints.scopes} == {world.batch.id}


async def test_usage_of_flows_is_counted_once_though_the_slice_was_run_again():
    world = World(request={"endpoint": "/v1/jobs"})
    await world.begin(jsonl(job_line("a"), job_line("b")))
    await world.run()
    await world.run()
    usage = (await world.commit()).usage
    assert usage is not None
    assert usage.total_tokens == 10


async def test_a_flow_that_never_ends_is_ended_and_its_line_failed():
    async def never(call: ModelCall, scope: CallScope) -> ModelAnswer:
        await asyncio.Event().wait()
        raise AssertionError

    world = World(never, request={"endpoint": "/v1/jobs"})
    world.batches = replace(world.batches, flow_time=timedelta(milliseconds=50))
    ended = await world.carried(jsonl(job_line("a")))
    assert await world.ids(ended) == (set(), {"a": "flow_failed"})


HANDLE = CallHandle(deployment="d", name="n", state="begun", sent_at=NOW)


async def pending(call: ModelCall, scope: CallScope) -> ModelAnswer:
    scope.handles["key"] = HANDLE
    raise CallPending("n", NOW)


async def test_what_a_model_works_on_is_looked_at_before_the_flow_is_run_again():
    world = World(pending, request={"endpoint": "/v1/jobs"})
    await world.begin(jsonl(job_line("a")))
    assert (await world.run()).resume_at == NOW
    world.endpoints.pending = CallPending("n", NOW + timedelta(minutes=1))
    assert (await world.run()).resume_at == NOW + timedelta(minutes=1)
    assert len(world.calls) == 1, "the flow was not run again"
    assert world.endpoints.looked_at == [{"key": HANDLE}]
    world.endpoints.pending = None
    world.answer = answers
    assert (await world.run()).ended == 1


async def test_what_models_work_on_for_lines_that_were_not_answered_is_ended():
    async def some(call: ModelCall, scope: CallScope) -> ModelAnswer:
        return await (pending if scope.job_id.endswith(("b", "c")) else answers)(call, scope)

    world = World(some, request={"endpoint": "/v1/jobs"})
    await world.begin(jsonl(*(job_line(custom_id) for custom_id in "abc")))
    await world.run()
    world.answer = lambda call, scope: (pending if scope.job_id.endswith("c") else answers)(
        call, scope
    )
    await world.run()
    await world.batches.store.stop("default", world.batch.id, "cancelled")
    ended = await world.commit()
    assert await world.ids(ended) == ({"a", "b"}, {"c": "batch_cancelled"})
    await world.batches.release(world.ticket)
    assert world.endpoints.cancelled == [{"key": HANDLE}]


# An input that is a blob.


def blob_world(etag: str | None = None) -> World:
    world = World()
    world.inputs._set("team/june.jsonl", chat_file(3))
    found = InputBlob(name="team/june.jsonl", etag=etag or world.inputs._etag("team/june.jsonl"))
    world.batch = world.batch.model_copy(update={"input_blob": found})
    return world


async def test_a_blob_becomes_the_input_file_first():
    world = blob_world()
    await world.batches.store.accept(world.batch)
    assert (await world.batches.validate(world.ticket)).lines == 3
    stored = await world.batches.files.get("default", "file-in")
    assert stored is not None
    assert (stored.file.filename, stored.file.purpose) == ("june.jsonl", "batch")
    assert stored.file.bytes == len(chat_file(3))
    await world.inputs.delete("team/june.jsonl")
    assert (await world.batches.validate(world.ticket)).lines == 3, "it is the app's own now"


async def test_a_blob_that_was_changed_after_it_was_accepted_is_not_taken():
    world = blob_world(etag="an earlier one")
    await world.batches.store.accept(world.batch)
    assert (await world.batches.validate(world.ticket)).problems == 1
    ended = await world.commit()
    assert ended.errors is not None
    assert "changed or deleted" in ended.errors.data[0].message


# The retry of failed lines.


async def test_failed_lines_are_the_input_of_a_retry():
    async def refuses_some(call: ModelCall, scope: CallScope) -> ModelAnswer:
        if len(world.calls) in (2, 3):
            raise CallRejected("No.")
        return await answers(call, scope)

    world = World(refuses_some)
    ended = await world.carried(b"\n".join(chat_file(5).splitlines()))
    failed = set((await world.ids(ended))[1])
    assert len(failed) == 2
    text = b"".join(await collected(world, ended))
    assert {json.loads(line)["custom_id"] for line in text.splitlines()} == failed
    await world.batches.files.delete("default", "file-in")
    with pytest.raises(Exception, match="deleted"):
        await anext(failed_lines(world.batches.files, world.batch, str(ended.error_file_id)))


async def collected(world: World, ended: BatchObject) -> list[bytes]:
    lines: AsyncIterator[bytes] = failed_lines(
        world.batches.files, world.batch, str(ended.error_file_id)
    )
    return [piece async for piece in lines]
