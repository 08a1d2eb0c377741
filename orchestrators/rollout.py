"""A rollout: shift weight to a deployment step by step, and back when it does worse.

After each check it continues as new, so that history holds one check however long a step lasts.
"""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from typing import Any

import azure.durable_functions as df
from durabletask import task
from durabletask.entities import EntityInstanceId

from contracts.audit import SERVICE, AuditAction, AuditEvent, AuditOutcome
from contracts.ids import new_audit_id, time_of
from contracts.names import (
    CANCEL_EVENT,
    NOTE_AUDIT_ACTIVITY,
    ROLLOUT_ORCHESTRATOR,
    STANDING_ENTITY,
)
from contracts.rollouts import RolloutSide, RolloutStatus, RolloutStep, RolloutTicket
from contracts.sharing import Counts, SharedDeployment, SharedModel, standing_key
from orchestrators.judging import Judgement, judge, left_alone

bp = df.Blueprint()

SETTLE_SECONDS = 2.0
"""From new weights to the first call that is judged: until every worker keeps to them, and has told
of the calls before."""
LONGEST_CHECK_SECONDS = 10.0
CHECKS_A_STEP = 4
EXTENSION = 3
"""Times its length: how long a step may last when it has too few calls to be judged."""
LEAST_EXTENSION_SECONDS = 60.0
STRETCH_SECONDS = 60.0
"""Good calls of longer ago do not outweigh bad ones of now: judging begins anew after as long,
and CALLS_A_STRETCH times the calls that are needed."""
CALLS_A_STRETCH = 5
MOST_WEIGHT = 1000.0
ADVANCE_RETRY = task.RetryPolicy(
    # Storage down: a step that cannot be noted is not begun, and the one before is looked at again.
    first_retry_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    max_number_of_attempts=3,
)
END_RETRY = task.RetryPolicy(
    # A quarter of an hour. The weights are set by then; until it is noted the rollout is shown as
    # running, as nothing else may steer the model yet.
    first_retry_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    max_retry_interval=timedelta(seconds=30),
    max_number_of_attempts=35,
)

type Steps[T] = Generator[task.Task[Any], Any, T]


@bp.orchestration_trigger(context_name="context", orchestration=ROLLOUT_ORCHESTRATOR)
def rollout(
    context: task.OrchestrationContext, ticket: dict[str, Any]
) -> Steps[dict[str, Any] | None]:
    """RolloutTicket in, RolloutRecord out (None when it continues)."""
    advanced = yield from _advance(context, RolloutTicket.model_validate(ticket))
    record = advanced.record.model_dump(mode="json")
    if advanced.record.status.ended:
        detail = {"status": advanced.record.status, "reason": advanced.record.reason}
        yield from _note(context, advanced, AuditAction.ROLLOUT_ENDED, detail)
        context.set_custom_status(record)
        return record
    context.set_custom_status(record)
    context.continue_as_new(advanced.model_dump(mode="json"), save_events=True)
    return None


def _advance(context: task.OrchestrationContext, ticket: RolloutTicket) -> Steps[RolloutTicket]:
    """From one check to the next, or to the end."""
    if ticket.step < 0:
        return (yield from _begin_step(context, ticket))
    context.set_custom_status(ticket.record.model_dump(mode="json"))
    cancelled = context.wait_for_external_event(CANCEL_EVENT)
    check = context.create_timer(_now(context) + timedelta(seconds=_pause(ticket)))
    if (yield task.when_any([cancelled, check])) is cancelled:
        check.cancel()
        why = "An operator cancelled it."
        return (yield from _undo(context, ticket, RolloutStatus.CANCELLED, why))
    return (yield from _check(context, ticket))


def _check(context: task.OrchestrationContext, ticket: RolloutTicket) -> Steps[RolloutTicket]:
    """Go on with the step, begin the next, or undo it all."""
    shared = SharedModel.model_validate(
        (yield context.call_entity(_entity(ticket), "get", return_type=dict))
    )
    now = _now(context)
    if ticket.marked_at is None:
        return ticket.model_copy(update={"marks": _totals(ticket, shared), "marked_at": now})
    ticket, judgement = judged(ticket, shared, now)
    if judgement.found == "bad":
        why = f"{ticket.record.to}: {judgement.why}."
        return (yield from _undo(context, ticket, RolloutStatus.ROLLED_BACK, why))
    seconds = (now - ticket.record.steps[-1].began_at).total_seconds()
    length = ticket.record.rules.step_seconds
    if seconds < length:
        return ticket
    if judgement.found == "good" or ticket.passed:
        return (yield from _begin_step(context, ticket))
    if seconds < max(EXTENSION * length, LEAST_EXTENSION_SECONDS):
        return ticket
    why = f"Too few calls to judge by: {judgement.why} in {seconds:.0f} s."
    return (yield from _undo(context, ticket, RolloutStatus.ROLLED_BACK, why))


def judged(
    ticket: RolloutTicket, shared: SharedModel, now: datetime
) -> tuple[RolloutTicket, Judgement]:
    """The ticket with what is known now of the step under way."""
    record = ticket.record
    totals = _totals(ticket, shared)
    new = totals[record.to] - ticket.marks[record.to]
    others = sum((totals[name] - ticket.marks[name] for name in _others(ticket)), Counts())
    known = shared.deployments.get(record.to, SharedDeployment())
    began_at = record.steps[-1].began_at
    alone = record.steps[-1].percent >= 100
    judgement = left_alone(known, now, began_at) or judge(
        new, others, ticket.baseline, record.rules, alone=alone
    )
    enough = others.calls >= record.rules.min_calls
    beside = others if enough else ticket.baseline or others
    step = record.steps[-1].model_copy(
        update={"new": RolloutSide.of(new), "others": RolloutSide.of(beside)}
    )
    record = record.model_copy(
        update={"steps": [*record.steps[:-1], step], "reason": judgement.why}
    )
    update: dict[str, Any] = {"record": record}
    if enough:
        update["baseline"] = others
    if judgement.found == "good":
        update["passed"] = True
        assert ticket.marked_at is not None
        long = (now - ticket.marked_at).total_seconds() >= STRETCH_SECONDS
        if long and new.calls >= CALLS_A_STRETCH * record.rules.min_calls:
            update |= {"marks": totals, "marked_at": now}
    return ticket.model_copy(update=update), judgement


def weights_at(percent: float, before: dict[str, float], to: str) -> dict[str, float]:
    """So that `to` takes so many percent of the calls, the others the rest in their proportions."""
    others = {name: weight for name, weight in before.items() if name != to}
    total = sum(others.values())
    scale = min(1.0, MOST_WEIGHT / total)
    weights = {
        name: round(weight * scale * (1 - percent / 100), 6) for name, weight in others.items()
    }
    return {**weights, to: round(total * scale * percent / 100, 6)}


def _begin_step(context: task.OrchestrationContext, ticket: RolloutTicket) -> Steps[RolloutTicket]:
    """The next step, or the end after the last."""
    record, number = ticket.record, ticket.step + 1
    now = _now(context)
    steps = list(record.steps)
    if steps:
        steps[-1] = steps[-1].model_copy(update={"ended_at": now})
    if number == len(record.rules.steps):
        ended = {"status": RolloutStatus.SUCCEEDED, "ended_at": now, "steps": steps, "reason": None}
        return ticket.model_copy(update={"record": record.model_copy(update=ended)})
    percent = record.rules.steps[number]
    if steps:  # the first is what was asked for when it was started
        detail = {"percent": percent}
        if not (yield from _note(context, ticket, AuditAction.ROLLOUT_ADVANCED, detail)):
            return ticket
    weights = weights_at(percent, ticket.before, record.to)
    yield _steer(context, ticket, weights)
    steps.append(RolloutStep(percent=percent, began_at=now))
    return ticket.model_copy(
        update={
            "record": record.model_copy(update={"steps": steps, "weights": weights}),
            "step": number,
            "marked_at": None,
            "passed": False,
        }
    )


def _undo(
    context: task.OrchestrationContext, ticket: RolloutTicket, status: RolloutStatus, why: str
) -> Steps[RolloutTicket]:
    yield _steer(context, ticket, ticket.overrides)
    now = _now(context)
    steps = list(ticket.record.steps)
    steps[-1] = steps[-1].model_copy(update={"ended_at": now})
    ended = {
        "status": status,
        "ended_at": now,
        "steps": steps,
        "weights": ticket.before,
        "reason": why,
    }
    return ticket.model_copy(update={"record": ticket.record.model_copy(update=ended)})


def _note(
    context: task.OrchestrationContext,
    ticket: RolloutTicket,
    action: AuditAction,
    detail: dict[str, Any],
) -> Steps[bool]:
    """Whether it is kept in the audit log: that a step is about to begin, or what has ended."""
    record, ended = ticket.record, ticket.record.status.ended
    seed = f"{record.id} {record.started_at} {action} {ticket.step}"
    event_id = new_audit_id(_now(context), seed)
    event = AuditEvent(
        id=event_id,
        at=time_of(event_id),
        tenant=ticket.tenant,
        subject=SERVICE,
        action=action,
        target=record.id,
        outcome=AuditOutcome.DONE if ended else AuditOutcome.ACCEPTED,
        detail=detail,
    )
    try:
        yield context.call_activity(
            NOTE_AUDIT_ACTIVITY,
            input=event.model_dump(mode="json"),
            retry_policy=END_RETRY if ended else ADVANCE_RETRY,
        )
    except task.TaskFailedError:
        return False
    return True


def _steer(
    context: task.OrchestrationContext, ticket: RolloutTicket, weights: dict[str, Any]
) -> task.CompletableTask[Any]:
    wanted = {name: {"weight": weight} for name, weight in weights.items()}
    return context.call_entity(_entity(ticket), "steer", wanted)


def _totals(ticket: RolloutTicket, shared: SharedModel) -> dict[str, Counts]:
    return {name: shared.deployments.get(name, SharedDeployment()).counts for name in ticket.before}


def _others(ticket: RolloutTicket) -> list[str]:
    return [name for name in ticket.before if name != ticket.record.to]


def _pause(ticket: RolloutTicket) -> float:
    if ticket.marked_at is None:
        return SETTLE_SECONDS
    return min(LONGEST_CHECK_SECONDS, ticket.record.rules.step_seconds / CHECKS_A_STEP)


def _entity(ticket: RolloutTicket) -> EntityInstanceId:
    return EntityInstanceId(STANDING_ENTITY, standing_key(ticket.record.model))


def _now(context: task.OrchestrationContext) -> datetime:
    # The SDK's clock is UTC without saying so; every other time here says so.
    return context.current_utc_datetime.replace(tzinfo=UTC)
