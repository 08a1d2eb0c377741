"""The life of one job: run it, wait while it must, end it at its deadline or when cancelled.

This orchestrator is the one owner of waiting and retries: an activity makes one attempt and
says what came of it. After each wait it continues as new, so that history holds one step
however long a job waits.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task

from contracts.errors import DeadlineExceeded, SluiceError
from contracts.jobs import JobOutcome, JobStep, JobTicket, JobWait
from contracts.names import (
    CANCEL_CALLS_ACTIVITY,
    CANCEL_EVENT,
    FREE_SLOT_ACTIVITY,
    JOB_ORCHESTRATOR,
    MOST_STARTS,
    NUDGE_EVENT,
    PUBLISH_REPLY_ACTIVITY,
    RUN_JOB_ACTIVITY,
)
from contracts.problems import Problem
from contracts.states import JobStatus
from contracts.stuck import Nudge

bp = df.Blueprint()

ACTIVITY_RETRY = task.RetryPolicy(
    # For an activity that could not do its work at all: storage down, a worker restarted.
    # What a model answered never raises here.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=1),
    max_number_of_attempts=MOST_STARTS,
)
REPLY_RETRY = task.RetryPolicy(
    # Service Bus or storage down: some two days, the time an operator may need.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=10),
    max_number_of_attempts=300,
)
CANCEL_RETRY = task.RetryPolicy(
    # The deployment cannot be reached: half an hour, then what it works on runs to its end.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=5),
    max_number_of_attempts=12,
)
SLOT_RETRY = task.RetryPolicy(
    # Storage down: half an hour, then a door that finds all slots taken finds this one.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=5),
    max_number_of_attempts=12,
)
MOST_RETRIES = 5
"""How often a job is run again after every deployment failed. Waits for capacity are unlimited."""
FIRST_BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=5)

type Steps[T] = Generator[task.Task[Any], Any, T]


@bp.orchestration_trigger(context_name="context", orchestration=JOB_ORCHESTRATOR)
def job(context: task.OrchestrationContext, ticket: dict[str, Any]) -> Steps[dict[str, Any] | None]:
    """Carry one job from its ticket to its outcome (a JobOutcome; None when it continues)."""
    outcome = yield from _advance(context, JobTicket.model_validate(ticket))
    if outcome is None:
        return None
    ended = outcome.model_dump(mode="json")
    # The job has ended as it has, however long these take, and also when they fail for days.
    for activity in _afterwards(context, outcome, ended):
        context.set_custom_status(ended)
        yield task.when_any([activity])
    return ended


def _afterwards(
    context: task.OrchestrationContext, outcome: JobOutcome, ended: dict[str, Any]
) -> list[task.CompletableTask[Any]]:
    """What is left to do of an ended job, begun."""
    begun: list[task.CompletableTask[Any]] = []
    if outcome.ticket.holds_slot:
        begun.append(
            context.call_activity(
                FREE_SLOT_ACTIVITY, input=ended["ticket"], retry_policy=SLOT_RETRY
            )
        )
    if outcome.ticket.reply is not None:
        begun.append(
            context.call_activity(PUBLISH_REPLY_ACTIVITY, input=ended, retry_policy=REPLY_RETRY)
        )
    if any(handle.open for handle in outcome.ticket.handles.values()):
        begun.append(
            context.call_activity(
                CANCEL_CALLS_ACTIVITY, input=ended["ticket"], retry_policy=CANCEL_RETRY
            )
        )
    return begun


def _advance(context: task.OrchestrationContext, ticket: JobTicket) -> Steps[JobOutcome | None]:
    cancelled = context.wait_for_external_event(CANCEL_EVENT)
    deadline = context.create_timer(ticket.deadline_at) if ticket.deadline_at else None
    interrupts = _Interrupts(context, cancelled, deadline)

    def ended_by(event: task.Task[Any], ticket: JobTicket) -> JobOutcome | None:
        nudge = interrupts.nudge_of(event)
        if nudge is None:
            return _interrupted(context, ticket, by_caller=event is cancelled)
        return _nudged(context, ticket, nudge, deadline)

    _show(context, JobStatus.RUNNING, ticket)
    run: task.CompletableTask[Any] = context.call_activity(
        RUN_JOB_ACTIVITY, input=ticket.model_dump(mode="json"), retry_policy=ACTIVITY_RETRY
    )
    first = yield from interrupts.before(run, ticket.step)
    if first is not run:
        return ended_by(first, ticket)
    if run.is_failed:
        return _lost(context, ticket)
    step = JobStep.model_validate(run.get_result())
    ticket = ticket.after(step)
    resume_at = _resume_at(_now(context), ticket, step)
    if resume_at is None:
        _cancel(deadline)
        return _ended(context, ticket, step)

    waiting = JobStatus.WAITING_FOR_CAPACITY if step.wait_for == "capacity" else JobStatus.RUNNING
    _show(context, waiting, ticket, until=resume_at, reason=step.error)
    resume = context.create_timer(resume_at)
    first = yield from interrupts.before(resume, ticket.step)
    if first is not resume:
        resume.cancel()
        return ended_by(first, ticket)
    _cancel(deadline)
    context.continue_as_new(ticket.model_dump(mode="json"), save_events=True)
    return None


class _Interrupts:
    """What may come before the end of a step or a wait."""

    def __init__(
        self,
        context: task.OrchestrationContext,
        cancelled: task.CompletableTask[Any],
        deadline: task.CompletableTask[Any] | None,
    ) -> None:
        self._context = context
        self._always = [cancelled, deadline] if deadline else [cancelled]
        self._nudged = context.wait_for_external_event(NUDGE_EVENT)

    def before(self, work: task.CompletableTask[Any], step: int) -> Steps[task.Task[Any]]:
        """Wait for `work`, or what comes before it. A nudge is for one step alone."""
        while True:
            first: task.Task[Any] = yield task.when_any([work, *self._always, self._nudged])
            nudge = self.nudge_of(first)
            if nudge is None or nudge.step == step:
                return first
            self._nudged = self._context.wait_for_external_event(NUDGE_EVENT)

    def nudge_of(self, event: task.Task[Any]) -> Nudge | None:
        return Nudge.model_validate(event.get_result()) if event is self._nudged else None


def _nudged(
    context: task.OrchestrationContext,
    ticket: JobTicket,
    nudge: Nudge,
    deadline: task.TimerTask | None,
) -> JobOutcome | None:
    """A sweep has found that the job makes no progress."""
    if nudge.to == "expire":
        return _interrupted(context, ticket, by_caller=False)
    _cancel(deadline)
    if nudge.to == "again":  # what the step does all the same is of no consequence
        context.continue_as_new(ticket.model_dump(mode="json"), save_events=True)
        return None
    return JobOutcome(
        status=JobStatus.FAILED,
        ended_at=_now(context),
        ticket=ticket,
        error=SluiceError(
            "The job made no progress for longer than this service allows, and was ended. Its"
            " model may have been called; send the job again if it may be called twice."
        ).problem(),
    )


def _resume_at(now: datetime, ticket: JobTicket, step: JobStep) -> datetime | None:
    """When to run the job again; None when this step was its last."""
    if step.wait_for in ("capacity", "model"):
        assert step.wait_until is not None
        return max(step.wait_until, now)
    if step.wait_for == "retry" and ticket.retries <= MOST_RETRIES:
        return now + min(FIRST_BACKOFF * 2.0 ** (ticket.retries - 1), LONGEST_BACKOFF)
    return None


def _ended(context: task.OrchestrationContext, ticket: JobTicket, step: JobStep) -> JobOutcome:
    return JobOutcome(
        # A step that would retry but may no more has no status of its own.
        status=step.status or JobStatus.FAILED,
        ended_at=_now(context),
        ticket=ticket,
        error=step.error,
        result_bytes=step.result_bytes,
    )


def _interrupted(
    context: task.OrchestrationContext, ticket: JobTicket, *, by_caller: bool
) -> JobOutcome:
    late = DeadlineExceeded("The job did not end before its deadline.")
    return JobOutcome(
        status=JobStatus.CANCELLED if by_caller else JobStatus.EXPIRED,
        ended_at=_now(context),
        ticket=ticket,
        error=None if by_caller else late.problem(),
    )


def _lost(context: task.OrchestrationContext, ticket: JobTicket) -> JobOutcome:
    """The activity failed as often as it may, for a reason of ours: the log has it."""
    return JobOutcome(
        status=JobStatus.FAILED,
        ended_at=_now(context),
        ticket=ticket,
        error=SluiceError(
            "The job could not be run because of a fault in the service; its operator can find"
            " it in the log by the job's id. Send the job again later."
        ).problem(),
    )


def _show(
    context: task.OrchestrationContext,
    status: JobStatus,
    ticket: JobTicket,
    until: datetime | None = None,
    reason: Problem | None = None,
) -> None:
    wait = JobWait(status=status, ticket=ticket, until=until, reason=reason)
    context.set_custom_status(wait.model_dump(mode="json"))


def _now(context: task.OrchestrationContext) -> datetime:
    # The SDK's clock is UTC without saying so; every other time here says so.
    return context.current_utc_datetime.replace(tzinfo=UTC)


def _cancel(timer: task.TimerTask | None) -> None:
    if timer is not None:
        timer.cancel()
