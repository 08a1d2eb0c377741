"""The life of a job, driven step by step as the replay engine would."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from durabletask import task

from contracts.calls import CallHandle
from contracts.jobs import JobStep, JobTicket, ReplyAddress
from contracts.names import (
    CANCEL_CALLS_ACTIVITY,
    CANCEL_EVENT,
    FREE_SLOT_ACTIVITY,
    NUDGE_EVENT,
    PUBLISH_REPLY_ACTIVITY,
    RUN_JOB_ACTIVITY,
)
from contracts.states import JobStatus
from orchestrators.job import FIRST_BACKOFF, LONGEST_BACKOFF, MOST_RETRIES, job

START = datetime(2030, 1, 1, tzinfo=UTC)
run_orchestrator = job._function._func.orchestrator_function


class Context:
    """Hands out the SDK's own tasks, for a test to complete."""

    def __init__(self) -> None:
        self.current_utc_datetime = START.replace(tzinfo=None)  # as the SDK has it
        self.cancelled: task.CancellableTask[Any] = task.CancellableTask()
        self.nudged: task.CancellableTask[Any] = task.CancellableTask()
        self.activities: list[tuple[str, Any]] = []
        self.run: task.CompletableTask[Any] = task.CompletableTask()
        self.reply: task.CompletableTask[Any] = task.CompletableTask()
        self.cancelling: task.CompletableTask[Any] = task.CompletableTask()
        self.freeing: task.CompletableTask[Any] = task.CompletableTask()
        self.timers: list[tuple[datetime, task.TimerTask]] = []
        self.custom_status: dict[str, Any] = {}
        self.continued_with: dict[str, Any] | None = None
        self.saves_events = False

    def wait_for_external_event(self, name: str) -> task.CancellableTask[Any]:
        if name == CANCEL_EVENT:
            return self.cancelled
        assert name == NUDGE_EVENT
        if self.nudged.is_complete:  # each is for one event
            self.nudged = task.CancellableTask()
        return self.nudged

    def call_activity(self, name: str, *, input: Any, retry_policy: task.RetryPolicy) -> Any:
        self.activities.append((name, input))
        return {
            RUN_JOB_ACTIVITY: self.run,
            PUBLISH_REPLY_ACTIVITY: self.reply,
            CANCEL_CALLS_ACTIVITY: self.cancelling,
            FREE_SLOT_ACTIVITY: self.freeing,
        }[name]

    def create_timer(self, fire_at: datetime) -> task.TimerTask:
        timer = task.TimerTask()
        self.timers.append((fire_at, timer))
        return timer

    def set_custom_status(self, status: dict[str, Any]) -> None:
        self.custom_status = status

    def continue_as_new(self, new_input: dict[str, Any], *, save_events: bool) -> None:
        self.continued_with = new_input
        self.saves_events = save_events


class Run:
    """One execution: `complete` a task, and the orchestrator goes on from its `yield`."""

    def __init__(self, ticket: JobTicket) -> None:
        self.context = Context()
        self._generator = run_orchestrator(self.context, ticket.model_dump(mode="json"))
        self.output: Any = None
        self.ended = False
        next(self._generator)

    def complete(self, done: task.CompletableTask[Any], result: Any = None) -> None:
        done.complete(result)
        try:
            self._generator.send(done)
        except StopIteration as end:
            self.output = end.value
            self.ended = True


def ticket(**fields: Any) -> JobTicket:
    return JobTicket(id="job_1", tenant="default", **fields)


def step(**fields: Any) -> dict[str, Any]:
    made = JobStep(started_at=START, flow_seconds=1.0, attempts=[], **fields)
    return made.model_dump(mode="json")


def test_a_job_runs_once_and_ends_with_its_result():
    run = Run(ticket())
    assert run.context.activities == [(RUN_JOB_ACTIVITY, ticket().model_dump(mode="json"))]
    assert run.context.custom_status["status"] == "running"

    run.complete(run.context.run, step(status=JobStatus.SUCCEEDED, result_bytes=7))

    assert run.output["status"] == "succeeded"
    assert run.output["result_bytes"] == 7
    assert run.output["ticket"]["flow_seconds"] == 1.0
    assert run.output["ended_at"] == "2030-01-01T00:00:00Z"


def test_a_job_without_a_deadline_keeps_no_timer():
    run = Run(ticket())
    run.complete(run.context.run, step(status=JobStatus.SUCCEEDED))
    assert run.context.timers == []


def test_a_throttled_job_sleeps_until_there_is_capacity_and_continues_as_new():
    run = Run(ticket())
    until = START + timedelta(seconds=30)
    run.complete(run.context.run, step(wait_for="capacity", wait_until=until))

    assert run.context.custom_status["status"] == "waiting_for_capacity"
    [(fire_at, timer)] = run.context.timers
    assert fire_at == until

    run.complete(timer)
    assert run.ended
    assert run.output is None
    assert run.context.continued_with["step"] == 1
    assert run.context.continued_with["retries"] == 0
    assert run.context.saves_events, "a cancel that comes at this moment must not be lost"


@pytest.mark.parametrize("retries", range(MOST_RETRIES))
def test_a_failed_job_is_run_again_after_a_growing_back_off(retries):
    run = Run(ticket(retries=retries))
    run.complete(run.context.run, step(wait_for="retry"))

    [(fire_at, timer)] = run.context.timers
    assert fire_at == START + min(FIRST_BACKOFF * 2**retries, LONGEST_BACKOFF)
    run.complete(timer)
    assert run.context.continued_with["retries"] == retries + 1


def test_a_job_that_failed_too_often_ends_as_failed():
    run = Run(ticket(retries=MOST_RETRIES))
    run.complete(run.context.run, step(wait_for="retry"))
    assert run.output["status"] == "failed"


def test_a_lack_of_capacity_never_uses_up_the_retries():
    run = Run(ticket(retries=MOST_RETRIES, step=1000))
    run.complete(run.context.run, step(wait_for="capacity", wait_until=START))
    assert not run.ended


@pytest.mark.parametrize("waiting", [False, True])
def test_a_cancelled_job_ends_at_once_running_or_waiting(waiting):
    run = Run(ticket())
    if waiting:
        run.complete(run.context.run, step(wait_for="capacity", wait_until=START))
    run.complete(run.context.cancelled)

    assert run.output["status"] == "cancelled"
    assert run.output["error"] is None
    assert all(timer.is_cancelled for _, timer in run.context.timers)


@pytest.mark.parametrize("waiting", [False, True])
def test_a_job_expires_at_its_deadline_running_or_waiting(waiting):
    deadline_at = START + timedelta(minutes=1)
    run = Run(ticket(deadline_at=deadline_at))
    fire_at, deadline = run.context.timers[0]
    assert fire_at == deadline_at
    if waiting:
        run.complete(run.context.run, step(wait_for="retry"))
    run.complete(deadline)

    assert run.output["status"] == "expired"
    assert run.output["error"]["code"] == "deadline_exceeded"


def test_the_deadline_timer_of_an_ended_job_is_cancelled():
    run = Run(ticket(deadline_at=START + timedelta(days=1)))
    run.complete(run.context.run, step(status=JobStatus.SUCCEEDED))
    assert run.context.timers[0][1].is_cancelled


def test_an_activity_that_could_not_work_at_all_fails_the_job_with_a_reason():
    run = Run(ticket())
    run.context.run.fail("boom", RuntimeError("boom"))
    with pytest.raises(StopIteration) as end:
        run._generator.send(run.context.run)
    assert end.value.value["status"] == "failed"
    assert end.value.value["error"]["code"] == "internal_error"
    assert "boom" not in str(end.value.value)


REPLY = ReplyAddress(queue="inference-results", correlation_id="c")


@pytest.mark.parametrize("how", ["succeeded", "failed", "cancelled", "expired"])
def test_every_end_of_a_job_is_replied_once_when_a_reply_is_wanted(how):
    run = Run(ticket(reply=REPLY, deadline_at=START + timedelta(days=1)))
    if how == "cancelled":
        run.complete(run.context.cancelled)
    elif how == "expired":
        run.complete(run.context.timers[0][1])
    else:
        run.complete(run.context.run, step(status=JobStatus(how)))

    name, outcome = run.context.activities[-1]
    assert name == PUBLISH_REPLY_ACTIVITY
    assert outcome["status"] == how
    assert outcome["ticket"]["reply"]["correlation_id"] == "c"
    assert run.context.custom_status == outcome, "it has ended, also while its reply is tried"
    run.complete(run.context.reply)
    assert run.output == outcome
    assert [name for name, _ in run.context.activities].count(PUBLISH_REPLY_ACTIVITY) == 1


def test_a_reply_survives_the_waits_of_its_job():
    run = Run(ticket(reply=REPLY))
    run.complete(run.context.run, step(wait_for="capacity", wait_until=START))
    run.complete(run.context.timers[0][1])
    assert run.context.continued_with["reply"]["queue"] == "inference-results"


# What models work on.

BEGUN = CallHandle(deployment="batch", name="n", state="begun", sent_at=START)
ANSWERED = BEGUN.model_copy(update={"state": "answered"})


def test_a_job_whose_model_works_on_sleeps_until_the_next_look_and_carries_its_handles():
    run = Run(ticket(retries=MOST_RETRIES))
    until = START + timedelta(seconds=60)
    run.complete(run.context.run, step(wait_for="model", wait_until=until, handles={"k": BEGUN}))

    assert run.context.custom_status["status"] == "running"
    assert run.context.custom_status["until"] == "2030-01-01T00:01:00Z"
    [(fire_at, timer)] = run.context.timers
    assert fire_at == until
    run.complete(timer)
    assert run.context.continued_with["retries"] == MOST_RETRIES
    assert JobTicket.model_validate(run.context.continued_with).handles == {"k": BEGUN}


@pytest.mark.parametrize("how", ["cancelled", "expired", "failed"])
def test_what_models_work_on_is_cancelled_with_a_job_that_ends_without_it(how):
    run = Run(ticket(handles={"k": BEGUN}, deadline_at=START + timedelta(days=1)))
    if how == "cancelled":
        run.complete(run.context.cancelled)
    elif how == "expired":
        run.complete(run.context.timers[0][1])
    else:
        run.complete(run.context.run, step(status=JobStatus.FAILED, handles={"k": BEGUN}))

    name, given = run.context.activities[-1]
    assert name == CANCEL_CALLS_ACTIVITY
    assert JobTicket.model_validate(given).handles == {"k": BEGUN}
    assert run.context.custom_status["status"] == how, "the job has ended, however long it takes"
    assert not run.ended
    run.complete(run.context.cancelling)
    assert run.output["status"] == how


def test_a_job_ends_also_when_nothing_can_be_cancelled():
    run = Run(ticket(handles={"k": BEGUN}))
    run.complete(run.context.cancelled)
    run.context.cancelling.fail("gone", RuntimeError("gone"))
    with pytest.raises(StopIteration) as end:
        run._generator.send(run.context.cancelling)
    assert end.value.value["status"] == "cancelled"


def test_reply_and_cancelling_are_begun_together():
    run = Run(ticket(handles={"k": BEGUN}, reply=REPLY))
    run.complete(run.context.cancelled)
    assert [name for name, _ in run.context.activities[1:]] == [
        PUBLISH_REPLY_ACTIVITY,
        CANCEL_CALLS_ACTIVITY,
    ]


def test_a_job_that_leaves_nothing_under_way_cancels_nothing():
    run = Run(ticket(handles={"k": BEGUN}))
    run.complete(run.context.run, step(status=JobStatus.SUCCEEDED, handles={"k": ANSWERED}))
    assert run.ended
    assert [name for name, _ in run.context.activities] == [RUN_JOB_ACTIVITY]


@pytest.mark.parametrize("how", ["ended", "cancelled"])
def test_a_slot_is_given_back_last_whichever_way_the_job_ends(how):
    run = Run(ticket(holds_slot=True))
    if how == "cancelled":
        run.complete(run.context.cancelled)
    else:
        run.complete(run.context.run, step(status=JobStatus.SUCCEEDED, result_bytes=7))
    assert [name for name, _ in run.context.activities] == [RUN_JOB_ACTIVITY, FREE_SLOT_ACTIVITY]
    assert run.context.activities[1][1]["id"] == "job_1"
    assert run.context.custom_status["status"] == (
        "cancelled" if how == "cancelled" else "succeeded"
    )
    assert not run.ended
    run.complete(run.context.freeing)
    assert run.ended


def test_a_job_that_waits_keeps_its_slot():
    run = Run(ticket(holds_slot=True))
    run.complete(
        run.context.run, step(wait_for="capacity", wait_until=START + timedelta(seconds=30))
    )
    assert [name for name, _ in run.context.activities] == [RUN_JOB_ACTIVITY]
    run.complete(run.context.timers[0][1])
    assert run.context.continued_with is not None
    assert run.context.continued_with["holds_slot"]
