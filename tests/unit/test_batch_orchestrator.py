"""The life of a batch and of its lanes, driven step by step as the replay engine would."""

from __future__ import annotations

import json
from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask import task

from contracts.batches import BatchTicket, LaneTicket, SliceOutcome, Validation
from contracts.names import (
    ANNOUNCE_BATCH_ACTIVITY,
    BATCH_LANE_ORCHESTRATOR,
    CANCEL_EVENT,
    COMMIT_BATCH_ACTIVITY,
    MOST_LANES,
    RELEASE_BATCH_ACTIVITY,
    RUN_SLICE_ACTIVITY,
    STOP_BATCH_ACTIVITY,
    VALIDATE_BATCH_ACTIVITY,
)
from orchestrators.batch import (
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    SHORTEST_WAIT,
    SLICES_BETWEEN,
    batch,
    batch_lane,
)

START = datetime(2030, 1, 1, tzinfo=UTC)
EXPIRES = START + timedelta(hours=24)
TICKET = BatchTicket(id="batch_1", tenant="default", expires_at=EXPIRES)


class Context:
    """Hands out the SDK's own tasks, for a test to complete."""

    def __init__(self) -> None:
        self.current_utc_datetime = START.replace(tzinfo=None)  # as the SDK has it
        self.cancelled: task.CancellableTask[Any] = task.CancellableTask()
        self.activities: list[tuple[str, Any, task.CompletableTask[Any]]] = []
        self.lanes: list[tuple[Any, str, task.CompletableTask[Any]]] = []
        self.timers: list[tuple[datetime, task.TimerTask]] = []
        self.shown: list[dict[str, Any]] = []
        self.continued_with: dict[str, Any] | None = None

    def wait_for_external_event(self, name: str) -> task.CancellableTask[Any]:
        assert name == CANCEL_EVENT
        return self.cancelled

    def call_activity(
        self, name: str, *, input: Any, retry_policy: task.RetryPolicy
    ) -> task.CompletableTask[Any]:
        json.dumps(input)
        activity: task.CompletableTask[Any] = task.CompletableTask()
        self.activities.append((name, input, activity))
        return activity

    def call_sub_orchestrator(
        self, name: str, *, input: Any, instance_id: str
    ) -> task.CompletableTask[Any]:
        assert name == BATCH_LANE_ORCHESTRATOR
        lane: task.CompletableTask[Any] = task.CompletableTask()
        self.lanes.append((input, instance_id, lane))
        return lane

    def create_timer(self, fire_at: datetime) -> task.TimerTask:
        timer = task.TimerTask()
        self.timers.append((fire_at, timer))
        return timer

    def set_custom_status(self, status: dict[str, Any]) -> None:
        json.dumps(status)
        self.shown.append(status)

    def continue_as_new(self, new_input: dict[str, Any], *, save_events: bool) -> None:
        assert save_events, "a cancel that comes at this moment must not be lost"
        self.continued_with = new_input


class Run:
    """One execution: complete a task, and the orchestrator goes on from its `yield`."""

    def __init__(self, orchestrator: Any, ticket: dict[str, Any]) -> None:
        self.context = Context()
        function = orchestrator._function._func.orchestrator_function
        self._generator: Generator[Any, Any, Any] = function(self.context, ticket)
        self.output: Any = None
        self.ended = False
        self._waits_for: task.Task[Any] | None = None
        self._go_on(lambda: next(self._generator))

    def complete(self, done: task.CompletableTask[Any], result: Any = None) -> None:
        done.complete(result)
        self._resume()

    def fail(self, done: task.CompletableTask[Any]) -> None:
        done.fail("boom", RuntimeError("boom"))
        self._resume()

    def _resume(self) -> None:
        while self._waits_for is not None and self._waits_for.is_complete:
            waited = self._waits_for
            if waited.is_failed:
                failure = waited.get_exception()
                self._go_on(lambda failure=failure: self._generator.throw(failure))
            else:
                result = waited.get_result()
                self._go_on(lambda result=result: self._generator.send(result))

    def _go_on(self, step: Any) -> None:
        try:
            self._waits_for = step()
        except StopIteration as end:
            self._waits_for, self.output, self.ended = None, end.value, True

    # What was asked for last.

    @property
    def asked(self) -> tuple[str, Any]:
        name, given, _ = self.context.activities[-1]
        return name, given

    def answer(self, name: str, result: Any = None) -> None:
        """Complete the activity that was called last, which is to be this one."""
        last, _, activity = self.context.activities[-1]
        assert last == name
        self.complete(activity, result)

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.context.activities]


def started(slices: int = 3, lines: int = 1200, **changes: Any) -> Run:
    """A batch whose lanes have begun."""
    run = Run(batch, TICKET.model_copy(update=changes).model_dump(mode="json"))
    run.answer(VALIDATE_BATCH_ACTIVITY, Validation(slices=slices, lines=lines).model_dump())
    return run


ENDED = {"id": "batch_1", "status": "completed", "endpoint": "/v1/chat/completions"}


# The batch.


def test_a_batch_is_validated_carried_in_lanes_and_committed():
    run = started(slices=3)
    assert run.context.shown[0]["status"] == "in_progress"
    assert run.context.shown[0]["total"] == 1200
    assert [(ticket["index"], ticket["lanes"], name) for ticket, name, _ in run.context.lanes] == [
        (0, 3, "batch_1-lane-0"),
        (1, 3, "batch_1-lane-1"),
        (2, 3, "batch_1-lane-2"),
    ]
    for _, _, lane in run.context.lanes:
        run.complete(lane)
    assert run.context.shown[-1]["status"] == "finalizing"
    [(fires_at, expiry)] = run.context.timers
    assert (fires_at, expiry.is_cancelled) == (EXPIRES, True)
    name, commit = run.asked
    assert name == COMMIT_BATCH_ACTIVITY
    assert commit["times"]["in_progress_at"] == commit["times"]["finalizing_at"] is not None
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED)
    assert run.output == ENDED
    assert STOP_BATCH_ACTIVITY not in run.names


def test_a_large_batch_has_a_bounded_number_of_lanes():
    assert len(started(slices=200).context.lanes) == MOST_LANES


def test_an_input_with_problems_is_committed_and_nothing_is_run():
    run = Run(batch, TICKET.model_dump(mode="json"))
    run.answer(VALIDATE_BATCH_ACTIVITY, Validation(problems=3).model_dump())
    name, commit = run.asked
    assert name == COMMIT_BATCH_ACTIVITY
    assert commit["times"] == {"in_progress_at": None, "finalizing_at": None}
    assert run.context.lanes == []
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED | {"status": "failed"})
    assert run.ended


def test_at_its_expiry_the_batch_is_stopped_and_committed_once_its_lanes_have_ended():
    run = started(slices=2)
    run.complete(run.context.timers[0][1])
    name, stop = run.asked
    assert (name, stop["why"]) == (STOP_BATCH_ACTIVITY, "expired")
    run.answer(STOP_BATCH_ACTIVITY)
    first, second = (lane for _, _, lane in run.context.lanes)
    run.complete(first)
    assert COMMIT_BATCH_ACTIVITY not in run.names, "the other lane still writes"
    run.fail(second)
    assert run.asked[0] == COMMIT_BATCH_ACTIVITY


def test_when_a_lane_fails_the_others_go_on_and_the_batch_ends_as_a_fault():
    run = started(slices=2)
    first, second = (lane for _, _, lane in run.context.lanes)
    run.fail(first)
    assert not run.ended
    assert STOP_BATCH_ACTIVITY not in run.names
    run.complete(second)
    name, stop = run.asked
    assert (name, stop["why"]) == (STOP_BATCH_ACTIVITY, "fault")
    assert run.context.timers[0][1].is_cancelled
    run.answer(STOP_BATCH_ACTIVITY)
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED | {"status": "failed"})
    assert run.output["status"] == "failed"


@pytest.mark.parametrize("problems", [0, 1])
def test_the_end_of_a_batch_is_announced_where_that_is_wanted(problems):
    run = Run(batch, TICKET.model_copy(update={"announce": True}).model_dump(mode="json"))
    found = Validation(slices=1, lines=1) if not problems else Validation(problems=1)
    run.answer(VALIDATE_BATCH_ACTIVITY, found.model_dump())
    for _, _, lane in run.context.lanes:
        run.complete(lane)
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED)
    assert run.asked[0] == ANNOUNCE_BATCH_ACTIVITY
    assert not run.ended
    run.answer(ANNOUNCE_BATCH_ACTIVITY)
    assert run.output == ENDED


def test_a_batch_that_cannot_be_announced_has_ended_all_the_same():
    run = started(slices=1, announce=True)
    run.complete(run.context.lanes[0][2])
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED)
    run.fail(run.context.activities[-1][2])
    assert run.output == ENDED


@pytest.mark.parametrize(
    ("status", "endpoint", "releases"),
    [
        ("cancelled", "/v1/jobs", True),
        ("expired", "/v1/jobs", True),
        ("failed", "/v1/jobs", True),
        ("completed", "/v1/jobs", False),
        ("cancelled", "/v1/chat/completions", False),
    ],
)
def test_what_models_work_on_is_ended_with_a_batch_of_jobs_that_is_stopped(
    status, endpoint, releases
):
    run = started(slices=1)
    run.complete(run.context.lanes[0][2])
    run.answer(COMMIT_BATCH_ACTIVITY, ENDED | {"status": status, "endpoint": endpoint})
    assert (RELEASE_BATCH_ACTIVITY in run.names) is releases
    assert run.ended is not releases


def test_the_history_of_a_batch_does_not_grow_with_it():
    """What is passed between its steps is as large for 10 lines as for 100,000."""

    def said(slices: int, lines: int) -> int:
        run = started(slices, lines)
        for _, _, lane in run.context.lanes:
            run.complete(lane)
        run.answer(COMMIT_BATCH_ACTIVITY, ENDED)
        inputs = [given for _, given, _ in run.context.activities]
        return len(json.dumps([inputs, run.context.lanes[0][0], run.context.shown], default=str))

    assert said(200, 100_000) - said(8, 4000) < 100


# A lane.


def lane(**changes: Any) -> Run:
    ticket = LaneTicket(batch=TICKET, index=1, lanes=8, slices=100).model_copy(update=changes)
    return Run(batch_lane, ticket.model_dump(mode="json"))


def outcome(**fields: Any) -> dict[str, Any]:
    return SliceOutcome(**fields).model_dump(mode="json")


def test_a_lane_runs_every_nth_slice():
    run = lane(slices=20)
    for index in (1, 9, 17):
        name, ticket = run.asked
        assert (name, ticket["index"]) == (RUN_SLICE_ACTIVITY, index)
        run.answer(RUN_SLICE_ACTIVITY, outcome())
    assert run.ended
    assert run.context.continued_with is None


def test_a_lane_continues_as_new_with_the_slice_that_is_next():
    run = lane()
    for _ in range(SLICES_BETWEEN):
        run.answer(RUN_SLICE_ACTIVITY, outcome())
    assert run.ended
    assert LaneTicket.model_validate(run.context.continued_with).index == 1 + 8 * SLICES_BETWEEN


def test_a_slice_that_waits_for_capacity_is_run_again_at_that_time():
    run = lane()
    until = START + timedelta(minutes=7)
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5, resume_at=until))
    [(fires_at, resume)] = run.context.timers
    assert fires_at == until
    run.complete(resume)
    name, ticket = run.asked
    assert (name, ticket["index"]) == (RUN_SLICE_ACTIVITY, 1)


def test_a_slice_that_waits_for_long_keeps_no_history():
    run = lane()
    for _ in range(SLICES_BETWEEN):
        run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5, resume_at=START))
        run.complete(run.context.timers[-1][1])
    assert run.ended
    assert LaneTicket.model_validate(run.context.continued_with).index == 1


def test_after_failures_the_wait_grows_and_with_the_next_slice_it_begins_anew():
    run = lane()
    waits = []
    for _ in range(3):
        run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5))
        fires_at, resume = run.context.timers[-1]
        waits.append(fires_at - START)
        run.complete(resume)
    assert waits == [FIRST_BACKOFF, FIRST_BACKOFF * 2, FIRST_BACKOFF * 4]
    run.answer(RUN_SLICE_ACTIVITY, outcome())
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5))
    assert run.context.timers[-1][0] - START == FIRST_BACKOFF


@pytest.mark.parametrize("rounds", [10, 5000])
def test_the_wait_has_a_longest(rounds):
    run = lane(round=rounds)
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5))
    assert run.context.timers[-1][0] - START == LONGEST_BACKOFF


@pytest.mark.parametrize(
    ("resume_at", "fires_at"),
    [(EXPIRES + timedelta(days=1), EXPIRES), (START - timedelta(hours=1), START + SHORTEST_WAIT)],
)
def test_no_wait_is_longer_than_the_batch_lasts_or_none_at_all(resume_at, fires_at):
    run = lane()
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5, resume_at=resume_at))
    assert run.context.timers[-1][0] == fires_at


def test_a_lane_that_waits_ends_when_the_batch_is_cancelled():
    run = lane()
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5, resume_at=EXPIRES))
    run.complete(run.context.cancelled)
    assert run.ended
    assert run.context.continued_with is None
    assert run.context.timers[0][1].is_cancelled


def test_a_lane_whose_slice_was_stopped_ends():
    run = lane()
    run.answer(RUN_SLICE_ACTIVITY, outcome(remaining=5, stopped=True))
    assert run.ended
    assert run.context.continued_with is None


def test_a_slice_that_could_not_be_run_at_all_fails_its_lane():
    run = lane()
    with pytest.raises(task.TaskFailedError):
        run.fail(run.context.activities[-1][2])
