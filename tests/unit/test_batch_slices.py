"""A slice carried through: each line once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import slices
from batches.calls import Answer
from batches.checkpoint import Checkpoint
from batches.slices import AT_ONCE, MOST_TRIES, SliceRun, carry
from contracts.batches import BatchLine, SliceOutcome
from contracts.calls import CallHandle, CallScope
from contracts.errors import (
    CallFailed,
    CallPending,
    CallRejected,
    DependencyUnavailable,
    NoCapacity,
    OutcomeUnknown,
)
from contracts.names import MOST_STARTS
from contracts.states import Priority
from stores.batches import BatchStore
from tests.unit.fakes import MemoryContainer
from tests.unit.lines_fakes import chat_line
from tests.unit.virtual_time import run_in_virtual_time

SOON = datetime(2030, 1, 1, tzinfo=UTC)
NAMES = [f"default/slices/b/00000.{kind}" for kind in ("out", "err", "left")]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has ended is kept as soon as it has: the tests count turns, not seconds."""
    monkeypatch.setattr(slices, "GATHER_SECONDS", 0)


async def answers(line: BatchLine, scope: CallScope) -> Answer:
    return Answer({"usage": {"prompt_tokens": 1}}, "r")


@dataclass
class Slice:
    """A slice, its storage, and how its calls go."""

    count: int = 20
    call: Callable[[BatchLine, CallScope], Awaitable[Answer]] = answers
    stop: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    blobs: MemoryContainer = field(default_factory=MemoryContainer)
    calls: Counter[str] = field(default_factory=Counter)
    scopes: list[CallScope] = field(default_factory=list)
    under_way: int = 0
    worker: str = "w"

    @property
    def lines(self) -> list[BatchLine]:
        return [BatchLine.model_validate(chat_line(f"r{n}")) for n in range(self.count)]

    async def run(self) -> SliceOutcome:
        async def call(line: BatchLine, scope: CallScope) -> Answer:
            self.calls[line.custom_id] += 1
            self.scopes.append(scope)
            self.under_way += 1
            try:
                return await self.call(line, scope)
            finally:
                self.under_way -= 1

        async def stopped() -> bool:
            await asyncio.sleep(0)
            return self.stop

        store = BatchStore(cast(Any, self.blobs))
        checkpoint = Checkpoint(store, *NAMES, worker=self.worker)
        run = SliceRun("b", "default", call, checkpoint, stopped, **self.options)
        return await carry(run, self.lines)

    def kept(self, name: str = "out") -> list[str]:
        blob = self.blobs.blobs.get(f"default/slices/b/00000.{name}", b"")
        assert blob == b"" or blob.endswith(b"\n")
        return [json.loads(line)["custom_id"] for line in blob.splitlines()]

    def said(self, name: str = "err") -> dict[str, Any]:
        blob = self.blobs.blobs[f"default/slices/b/00000.{name}"]
        lines = [json.loads(line) for line in blob.splitlines()]
        return {line["custom_id"]: line["response"]["body"]["error"] for line in lines}

    @property
    def all_ids(self) -> list[str]:
        return [line.custom_id for line in self.lines]


def only(custom_id: str, error: Callable[[], Exception]) -> Callable[..., Awaitable[Answer]]:
    """One line fails, the others are answered."""

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        if line.custom_id == custom_id:
            raise error()
        return await answers(line, scope)

    return call


async def test_every_line_is_called_once_and_kept():
    piece = Slice()
    assert await piece.run() == SliceOutcome(ended=20)
    assert sorted(piece.kept()) == sorted(piece.all_ids)
    assert set(piece.calls.values()) == {1}
    progress = await BatchStore(cast(Any, piece.blobs)).progress("default", "b")
    assert (progress.counts.completed, progress.tokens.input) == (20, 20)


async def test_a_line_is_a_batch_call_of_its_tenant_and_batch():
    piece = Slice(1)
    await piece.run()
    [scope] = piece.scopes
    assert (scope.tenant, scope.batch_id, scope.job_id) == ("default", "b", "b")
    assert scope.priority is Priority.BATCH
    assert scope.patience > 0


async def test_a_slice_that_has_ended_calls_nothing():
    piece = Slice()
    await piece.run()
    assert await piece.run() == SliceOutcome()
    assert set(piece.calls.values()) == {1}


async def test_a_line_keeps_its_place_until_it_is_kept():
    """So that a crash costs no more lines than there are places."""
    most = 0

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        nonlocal most
        most = max(most, sum(piece.calls.values()) - len(piece.kept()))
        for _ in range(AT_ONCE):  # turns of the loop, in each of which a line begins
            await asyncio.sleep(0)
        return await answers(line, scope)

    piece = Slice(3 * AT_ONCE, call)
    await piece.run()
    assert AT_ONCE / 2 < most <= AT_ONCE


# Ended from outside, at any moment.


@settings(max_examples=150, deadline=None)
@given(
    kills=st.lists(st.integers(0, 120), max_size=8),
    pauses=st.lists(st.integers(0, 9), min_size=1, max_size=20),
    failing=st.sets(st.integers(0, 29), max_size=5),
    at_once=st.integers(1, 12),
)
def test_killed_at_any_moment_no_line_is_lost_or_there_twice(kills, pauses, failing, at_once):
    """And none is paid for twice but those that were under way, or not kept yet."""
    twice = 0

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        number = int(line.custom_id[1:])
        for _ in range(pauses[number % len(pauses)]):
            await asyncio.sleep(0)
        if number in failing:
            raise CallRejected("No.")
        return await answers(line, scope)

    async def run() -> None:
        nonlocal twice
        for turns in kills:
            running = asyncio.create_task(piece.run())
            for _ in range(turns):
                await asyncio.sleep(0)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            kept = len(piece.kept()) + len(piece.kept("err"))
            lost = sum(piece.calls.values()) - twice - kept
            assert lost <= at_once
            twice += lost
        outcome = await piece.run()
        assert outcome.remaining == 0

    piece = Slice(30, call)
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(slices, "AT_ONCE", at_once)
        asyncio.run(run())
    kept = piece.kept() + piece.kept("err")
    assert sorted(kept) == sorted(piece.all_ids)
    assert {f"r{n}" for n in failing} == set(piece.kept("err"))


@settings(max_examples=100, deadline=None)
@given(
    starts=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    pauses=st.lists(st.integers(0, 9), min_size=1, max_size=20),
)
def test_runs_that_meet_leave_every_line_once(starts, pauses):
    """Each run answers some lines and fails others, by chance: the two files must not differ."""
    answered: Counter[str] = Counter()

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        number = int(line.custom_id[1:])
        for _ in range(pauses[(number + answered[line.custom_id]) % len(pauses)]):
            await asyncio.sleep(0)
        answered[line.custom_id] += 1
        if (number + answered[line.custom_id]) % 2:
            raise CallRejected("No.")
        return await answers(line, scope)

    async def run() -> None:
        running = []
        for turns in starts:
            for _ in range(turns):
                await asyncio.sleep(0)
            running.append(asyncio.create_task(piece.run()))
        for result in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(result, SliceOutcome | DependencyUnavailable), repr(result)
        await piece.run()

    piece = Slice(30, call)
    asyncio.run(run())
    assert sorted(piece.kept() + piece.kept("err")) == sorted(piece.all_ids)


# Stopped.


async def test_a_stopped_batch_begins_no_line():
    piece = Slice(stop=True)
    assert (await piece.run()).stopped
    assert piece.calls == {}


def test_when_it_is_stopped_those_under_way_have_a_moment_and_no_other_begins():
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        number = int(line.custom_id[1:])
        await asyncio.sleep(1.5 if number < 3 else 3600)
        return await answers(line, scope)

    async def run() -> SliceOutcome:
        running = asyncio.create_task(piece.run())
        await asyncio.sleep(0.5)
        piece.stop = True
        began = asyncio.get_running_loop().time()
        outcome = await running
        assert asyncio.get_running_loop().time() - began < 6
        return outcome

    piece = Slice(2 * AT_ONCE, call)
    outcome = run_in_virtual_time(run())
    assert (outcome.stopped, outcome.ended) == (True, 3)
    assert sorted(piece.kept()) == ["r0", "r1", "r2"]
    assert len(piece.calls) == AT_ONCE
    assert piece.under_way == 0


def test_lines_that_wait_for_a_deployment_are_ended_at_once():
    """Else each that found room in the meantime would be paid for."""

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        scope.waiting = int(line.custom_id[1:]) >= 3
        await asyncio.sleep(3600 if scope.waiting else 3.0)
        return await answers(line, scope)

    async def run() -> None:
        running = asyncio.create_task(piece.run())
        await asyncio.sleep(0.5)
        piece.stop = True
        await asyncio.sleep(1.0)
        assert piece.under_way == 3
        await running
        assert asyncio.get_running_loop().time() < 3.5, "nobody else is waited for"

    piece = Slice(2 * AT_ONCE, call)
    run_in_virtual_time(run())
    assert sorted(piece.kept()) == ["r0", "r1", "r2"]


def test_what_was_answered_is_kept_though_its_worker_is_ended_before_it_was():
    """Storage is slow just then: the answer was paid for."""

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        await asyncio.sleep(5.5)  # at the end of the grace
        return await answers(line, scope)

    async def run() -> None:
        append = piece.blobs.append_as

        async def slowly(*args: Any) -> Any:
            await asyncio.sleep(20)
            return await append(*args)

        piece.blobs.append_as = slowly  # type: ignore[method-assign]
        running = asyncio.create_task(piece.run())
        await asyncio.sleep(0.5)
        piece.stop = True
        await running

    piece = Slice(1, call)
    with pytest.MonkeyPatch.context() as limits:
        limits.setattr(slices, "GRACE_SECONDS", 5.0)
        run_in_virtual_time(run())
    assert piece.kept() == ["r0"]


def test_a_look_that_fails_ends_nothing():
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        await asyncio.sleep(5)
        return await answers(line, scope)

    async def run() -> SliceOutcome:
        looks = 0

        async def stopped() -> bool:
            nonlocal looks
            looks += 1
            if looks == 2:
                raise DependencyUnavailable("Storage is down.")
            return False

        checkpoint = Checkpoint(BatchStore(cast(Any, piece.blobs)), *NAMES)
        return await carry(SliceRun("b", "default", call, checkpoint, stopped), piece.lines)

    piece = Slice(3)
    assert run_in_virtual_time(run()).ended == 3


# Lines that do not end yet.


async def test_without_capacity_no_line_begins_and_the_slice_says_until_when():
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        while len(piece.calls) < AT_ONCE:
            await asyncio.sleep(0)
        raise NoCapacity("Full.", SOON + timedelta(seconds=sum(piece.calls.values())))

    piece = Slice(2 * AT_ONCE, call)
    outcome = await piece.run()
    assert len(piece.calls) == AT_ONCE
    assert outcome.remaining == 2 * AT_ONCE
    assert outcome.resume_at == SOON + timedelta(seconds=AT_ONCE)
    assert piece.kept("left") == [], "it has not failed"


async def test_where_lines_ask_several_models_one_without_capacity_holds_up_no_other():
    piece = Slice(2 * AT_ONCE, only("r0", lambda: NoCapacity("Full.", SOON)))
    piece.options["one_model"] = False
    outcome = await piece.run()
    assert (outcome.ended, outcome.remaining) == (2 * AT_ONCE - 1, 1)
    assert outcome.resume_at == SOON


async def test_a_line_is_run_again_from_what_models_work_on():
    handle = CallHandle(deployment="d", name="n", state="begun", sent_at=SOON)

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        if line.custom_id == "r1" and not scope.handles:
            scope.handles["key"] = handle
            raise CallPending("n", SOON)
        return await answers(line, scope)

    piece = Slice(3, call)
    outcome = await piece.run()
    assert (outcome.ended, outcome.remaining, outcome.resume_at) == (2, 1, SOON)
    assert (await piece.run()).remaining == 0
    assert piece.scopes[-1].handles == {"key": handle}
    assert sorted(piece.kept()) == piece.all_ids


@pytest.mark.parametrize("error", [CallFailed("Down."), OutcomeUnknown("Lost.")])
async def test_a_line_that_fails_for_now_is_tried_a_limited_number_of_times(error):
    piece = Slice(3, only("r1", lambda: error))
    for tries in range(1, MOST_TRIES):
        outcome = await piece.run()
        assert (outcome.remaining, outcome.resume_at) == (1, None)
        assert piece.calls["r1"] == tries
    assert (await piece.run()).remaining == 0
    assert piece.calls == {"r0": 1, "r1": MOST_TRIES, "r2": 1}
    assert piece.said()["r1"]["code"] == error.code


async def test_waits_for_capacity_are_no_tries():
    errors: list[Exception] = [CallFailed("Down."), NoCapacity("Full.", SOON)] * (MOST_TRIES - 1)
    piece = Slice(1, only("r0", lambda: errors.pop(0)))
    while errors:
        assert (await piece.run()).remaining == 1
    piece.call = answers
    assert (await piece.run()).ended == 1


# Lines that end badly.


async def test_what_a_model_refuses_is_a_failed_line_at_once():
    piece = Slice(3, only("r1", lambda: CallRejected("No.")))
    assert await piece.run() == SliceOutcome(ended=3)
    assert piece.said() == {
        "r1": {
            "message": "No.",
            "type": "invalid_request_error",
            "param": None,
            "code": "model_rejected_request",
        }
    }


async def test_a_fault_in_one_line_ends_no_other_and_its_text_is_told_nobody(caplog):
    piece = Slice(3, only("r1", lambda: ValueError("the prompt: my secret")))
    assert (await piece.run()).ended == 3
    assert piece.said()["r1"]["code"] == "internal_error"
    [record] = caplog.records
    assert "ValueError" in record.getMessage()
    assert "secret" not in caplog.text + json.dumps(piece.said())


async def test_when_lines_fail_the_batch_is_judged_before_many_more_are_paid_for():
    judged = []

    async def judge() -> None:
        judged.append(len(piece.kept("err")))

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        raise CallRejected("No.")

    piece = Slice(500, call, options={"judge": judge})
    await piece.run()
    assert 100 <= judged[0] <= 100 + AT_ONCE


async def test_nobody_judges_while_no_line_fails():
    async def judge() -> None:
        raise AssertionError("nothing has failed")

    piece = Slice(500, options={"judge": judge})
    assert (await piece.run()).ended == 500


# Time and storage.


def test_a_run_ends_in_time_and_is_to_go_on_at_once():
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        await asyncio.sleep(250)
        return await answers(line, scope)

    piece = Slice(5 * AT_ONCE, call)
    outcome = run_in_virtual_time(piece.run())
    assert (outcome.ended, outcome.remaining) == (3 * AT_ONCE, 2 * AT_ONCE)
    assert outcome.resume_at is not None
    assert outcome.resume_at <= datetime.now(UTC)


def test_storage_that_fails_for_a_moment_costs_no_answer():
    async def run() -> None:
        append, failures = piece.blobs.append_as, [True, True, False, True]

        async def at_times(*args: Any) -> Any:
            if failures and failures.pop(0):
                raise DependencyUnavailable("Storage is down.")
            return await append(*args)

        piece.blobs.append_as = at_times  # type: ignore[method-assign]
        await piece.run()

    piece = Slice(2 * AT_ONCE)
    run_in_virtual_time(run())
    assert sorted(piece.kept()) == sorted(piece.all_ids)
    assert set(piece.calls.values()) == {1}


def test_storage_that_is_down_ends_the_run_and_what_is_under_way():
    async def call(line: BatchLine, scope: CallScope) -> Answer:
        await asyncio.sleep(1 if line.custom_id == "r0" else 3600)
        piece.blobs.down = True
        return await answers(line, scope)

    piece = Slice(3, call)
    with pytest.raises(DependencyUnavailable):
        run_in_virtual_time(piece.run())
    assert piece.under_way == 0


# A line that ends its worker.


async def test_a_line_that_ends_its_worker_each_time_is_found_and_the_others_are_answered(caplog):
    piece = Slice(5)

    async def poisoned(line: BatchLine, scope: CallScope) -> Answer:
        if line.custom_id == "r2":
            died.set()
            await asyncio.Event().wait()
        elif not alone:
            await asyncio.Event().wait()  # it dies before the others have ended
        return await answers(line, scope)

    piece.call = poisoned
    deaths = 0
    while True:
        died = asyncio.Event()
        alone = deaths >= MOST_STARTS
        running = asyncio.create_task(piece.run())
        dying = asyncio.create_task(died.wait())
        await asyncio.wait({running, dying}, return_when=asyncio.FIRST_COMPLETED)
        dying.cancel()
        if running.done():
            break
        deaths += 1
        piece.worker = f"w{deaths}"
        assert deaths < 3 * MOST_STARTS
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    assert running.result().remaining == 0
    assert sorted(piece.kept()) == ["r0", "r1", "r3", "r4"]
    assert "worker died" in piece.said()["r2"]["message"]
    assert deaths <= MOST_STARTS + 2
    assert any(record.levelno == logging.ERROR for record in caplog.records)


def test_lines_come_together_before_they_are_kept_but_the_last_are_waited_for_no_longer(
    monkeypatch,
):
    monkeypatch.setattr(slices, "GATHER_SECONDS", 100)

    async def call(line: BatchLine, scope: CallScope) -> Answer:
        await asyncio.sleep(1 if line.custom_id == "r0" else 5)
        return await answers(line, scope)

    async def run() -> float:
        piece = Slice(3, call)
        assert await piece.run() == SliceOutcome(ended=3)
        assert piece.blobs.calls["append_as"] == 1
        return asyncio.get_running_loop().time()

    assert run_in_virtual_time(run()) == pytest.approx(5, abs=0.1)
