"""A job that a sweep has found to be stuck, as the replay engine would drive it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts.calls import CallHandle
from contracts.jobs import ReplyAddress
from contracts.names import CANCEL_CALLS_ACTIVITY, PUBLISH_REPLY_ACTIVITY, RUN_JOB_ACTIVITY
from contracts.states import JobStatus
from tests.unit.test_job_orchestrator import START, Run, step, ticket


def nudge(of: int, to: str) -> dict[str, Any]:
    return {"step": of, "to": to}


def test_a_step_is_run_again_with_the_same_ticket():
    given = ticket(step=2, retries=1, deadline_at=START + timedelta(hours=1))
    run = Run(given)
    run.complete(run.context.nudged, nudge(2, "again"))
    assert run.ended
    assert run.output is None
    assert run.context.continued_with == given.model_dump(mode="json")
    assert run.context.saves_events
    [(_, deadline)] = run.context.timers
    assert deadline.is_cancelled


def test_a_job_is_failed_with_a_reason_and_its_end_is_told():
    reply = ReplyAddress(queue="inference-results", correlation_id="c")
    handle = CallHandle(deployment="d", name="j", state="begun", sent_at=START)
    run = Run(ticket(reply=reply, handles={"m": handle}))
    run.complete(run.context.nudged, nudge(0, "fail"))
    assert not run.ended
    assert [name for name, _ in run.context.activities] == [
        RUN_JOB_ACTIVITY,
        PUBLISH_REPLY_ACTIVITY,
        CANCEL_CALLS_ACTIVITY,
    ]
    run.complete(run.context.reply)
    run.complete(run.context.cancelling)
    assert run.output["status"] == JobStatus.FAILED
    assert "no progress" in run.output["error"]["detail"]


def test_a_job_whose_deadline_was_missed_expires():
    run = Run(ticket(deadline_at=START))
    run.complete(run.context.nudged, nudge(0, "expire"))
    assert run.output["status"] == JobStatus.EXPIRED
    assert run.output["error"]["code"] == "deadline_exceeded"


@pytest.mark.parametrize("to", ["again", "fail", "expire"])
def test_a_nudge_for_another_step_changes_nothing(to: str):
    run = Run(ticket(step=3))
    stale = run.context.nudged
    run.complete(stale, nudge(2, to))
    assert not run.ended
    assert run.context.continued_with is None
    assert run.context.nudged is not stale
    run.complete(run.context.run, step(status=JobStatus.SUCCEEDED, result_bytes=1))
    assert run.output["status"] == JobStatus.SUCCEEDED


def test_a_wait_that_does_not_end_is_ended():
    """Its step is the one that it waits to run."""
    run = Run(ticket())
    until = datetime(2030, 1, 1, 1, tzinfo=UTC)
    run.complete(run.context.run, step(wait_for="capacity", wait_until=until))
    assert run.context.custom_status["ticket"]["step"] == 1
    [(_, resume)] = run.context.timers
    run.complete(run.context.nudged, nudge(1, "again"))
    assert resume.is_cancelled
    assert run.context.continued_with is not None
    assert run.context.continued_with["step"] == 1
