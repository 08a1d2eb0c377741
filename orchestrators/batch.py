"""The life of a batch: validate its input, carry its slices in lanes, make its files.

A lane runs every n-th slice, one after the other, and continues as new every few slices: neither
its history nor that of the batch grows with the batch. A lane is the one owner of waiting for its
slices: until capacity is back, or a back-off is over.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task

from contracts.batches import (
    JOBS_ENDPOINT,
    BatchTicket,
    BatchTimes,
    CommitTicket,
    LaneTicket,
    SliceOutcome,
    SliceTicket,
    Validation,
)
from contracts.names import (
    ANNOUNCE_BATCH_ACTIVITY,
    BATCH_LANE_ORCHESTRATOR,
    BATCH_ORCHESTRATOR,
    CANCEL_EVENT,
    COMMIT_BATCH_ACTIVITY,
    MOST_LANES,
    RELEASE_BATCH_ACTIVITY,
    RUN_SLICE_ACTIVITY,
    STOP_BATCH_ACTIVITY,
    VALIDATE_BATCH_ACTIVITY,
    lane_id,
)

bp = df.Blueprint()

SLICES_BETWEEN = 10
"""Runs of slices after which a lane continues as new."""
FIRST_BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=5)
SHORTEST_WAIT = timedelta(seconds=1)
"""Between two runs of a slice."""

STEP_RETRY = task.RetryPolicy(
    # Storage down, or a worker that died: each step goes on where it was. Some two hours.
    first_retry_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=1),
    max_number_of_attempts=120,
)

ANNOUNCE_RETRY = task.RetryPolicy(
    # Service Bus or storage down: some two days, the time an operator may need.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=10),
    max_number_of_attempts=300,
)
RELEASE_RETRY = task.RetryPolicy(
    # A deployment cannot be reached: half an hour, then what it works on runs to its end.
    first_retry_interval=timedelta(seconds=2),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(minutes=5),
    max_number_of_attempts=12,
)

type Steps[T] = Generator[task.Task[Any], Any, T]


@bp.orchestration_trigger(context_name="context", orchestration=BATCH_ORCHESTRATOR)
def batch(context: task.OrchestrationContext, ticket: dict[str, Any]) -> Steps[dict[str, Any]]:
    """Carry one batch from its ticket to its end, a BatchObject."""
    mine = BatchTicket.model_validate(ticket)
    times = BatchTimes()
    found = yield _activity(context, VALIDATE_BATCH_ACTIVITY, ticket)
    validation = Validation.model_validate(found)
    if not validation.problems:
        times.in_progress_at = _now(context)
        _show(context, "in_progress", times, validation.lines)
        yield from _carry(context, mine, validation.slices)
        times.finalizing_at = _now(context)
        _show(context, "finalizing", times, validation.lines)
    commit = CommitTicket(batch=mine, times=times, now=_now(context))
    ended = yield _activity(context, COMMIT_BATCH_ACTIVITY, commit.model_dump(mode="json"))
    # The batch has ended as it has, however long these take, and also when they fail for days.
    for activity in _afterwards(context, mine, ended, lines=validation.lines):
        yield task.when_any([activity])
    return dict(ended)


def _afterwards(
    context: task.OrchestrationContext, ticket: BatchTicket, ended: dict[str, Any], lines: int
) -> list[task.CompletableTask[Any]]:
    """What is left to do of an ended batch, begun."""
    begun: list[task.CompletableTask[Any]] = []
    said = ticket.model_dump(mode="json")
    if ticket.announce:
        begun.append(
            context.call_activity(ANNOUNCE_BATCH_ACTIVITY, input=said, retry_policy=ANNOUNCE_RETRY)
        )
    if lines and ended["status"] != "completed" and ended["endpoint"] == JOBS_ENDPOINT:
        begun.append(
            context.call_activity(RELEASE_BATCH_ACTIVITY, input=said, retry_policy=RELEASE_RETRY)
        )
    return begun


def _carry(context: task.OrchestrationContext, ticket: BatchTicket, slices: int) -> Steps[None]:
    """Until all slices have ended, or the batch was stopped."""
    lanes = min(MOST_LANES, slices)
    started: list[task.Task[Any]] = []
    for lane in range(lanes):
        first = LaneTicket(batch=ticket, index=lane, lanes=lanes, slices=slices)
        started.append(
            context.call_sub_orchestrator(
                BATCH_LANE_ORCHESTRATOR,
                input=first.model_dump(mode="json"),
                instance_id=lane_id(ticket.id, lane),
            )
        )
    carried = task.when_all(started)
    expiry = context.create_timer(ticket.expires_at)
    yield task.when_any([carried, expiry])
    if carried.is_complete:
        expiry.cancel()
        if not carried.is_failed:
            return
    # A lane fails when a step of it failed for hours: what its log says is for the operator.
    why = "fault" if carried.is_complete else "expired"
    yield _activity(context, STOP_BATCH_ACTIVITY, {**ticket.model_dump(mode="json"), "why": why})
    for each in started:
        yield task.when_any([each])  # ends in any case, and is not asked how


@bp.orchestration_trigger(context_name="context", orchestration=BATCH_LANE_ORCHESTRATOR)
def batch_lane(context: task.OrchestrationContext, ticket: dict[str, Any]) -> Steps[None]:
    """Run a lane's slices, each until none of its lines is left."""
    lane = LaneTicket.model_validate(ticket)
    stopped = context.wait_for_external_event(CANCEL_EVENT)
    for _ in range(SLICES_BETWEEN):
        run = SliceTicket(batch=lane.batch, index=lane.index)
        said = yield _activity(context, RUN_SLICE_ACTIVITY, run.model_dump(mode="json"))
        outcome = SliceOutcome.model_validate(said)
        if outcome.stopped:
            return
        if outcome.remaining:
            resume_at = _resume_at(_now(context), lane, outcome)
            resume = context.create_timer(resume_at)
            context.set_custom_status({"resumes_at": resume_at.isoformat()})
            first = yield task.when_any([resume, stopped])
            if first is stopped:
                resume.cancel()
                return
        lane = _after(lane, outcome)
        if lane.index >= lane.slices:
            return
    context.continue_as_new(lane.model_dump(mode="json"), save_events=True)


def _after(lane: LaneTicket, outcome: SliceOutcome) -> LaneTicket:
    if not outcome.remaining:
        return lane.model_copy(update={"index": lane.index + lane.lanes, "round": 0})
    return lane.model_copy(update={"round": lane.round + (outcome.resume_at is None)})


def _resume_at(now: datetime, lane: LaneTicket, outcome: SliceOutcome) -> datetime:
    """Never beyond the batch's expiry: then the slice finds that it is stopped."""
    resume_at = outcome.resume_at
    if resume_at is None:
        resume_at = now + min(FIRST_BACKOFF * 2 ** min(lane.round, 16), LONGEST_BACKOFF)
    return max(now + SHORTEST_WAIT, min(resume_at, lane.batch.expires_at))


def _activity(
    context: task.OrchestrationContext, name: str, ticket: dict[str, Any]
) -> task.CompletableTask[Any]:
    return context.call_activity(name, input=ticket, retry_policy=STEP_RETRY)


def _show(context: task.OrchestrationContext, status: str, times: BatchTimes, lines: int) -> None:
    context.set_custom_status(
        {"status": status, "total": lines, "times": times.model_dump(mode="json")}
    )


def _now(context: task.OrchestrationContext) -> datetime:
    return context.current_utc_datetime.replace(tzinfo=UTC)
