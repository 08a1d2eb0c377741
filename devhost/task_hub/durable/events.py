"""History events, stamped with the time at which they happened."""

from __future__ import annotations

from typing import Any

from devhost.task_hub.durable.model import Instance, Parent, Status
from devhost.task_hub.durable.proto import optional_timestamp, pb, text, timestamp, wire_status

_ANSWER = -1
"""The event id of whatever does not confirm an action."""


def kind_of(event: pb.HistoryEvent) -> str:
    """The name of the event's type, "" for none."""
    return event.WhichOneof("eventType") or ""


def confirm(now: int, action_id: int, **event: Any) -> pb.HistoryEvent:
    """The event that confirms an action, of the given type; it carries the action's id."""
    return pb.HistoryEvent(eventId=action_id, timestamp=timestamp(now), **event)


def _answer(now: int, **event: Any) -> pb.HistoryEvent:
    return pb.HistoryEvent(eventId=_ANSWER, timestamp=timestamp(now), **event)


def failure(error_type: str, message: str) -> pb.TaskFailureDetails:
    """Failure details for what the hub itself found out; trying again does not help."""
    return pb.TaskFailureDetails(errorType=error_type, errorMessage=message, isNonRetriable=True)


def orchestrator_started(now: int) -> pb.HistoryEvent:
    return _answer(
        now,
        orchestratorStarted=pb.OrchestratorStartedEvent(),
    )


def orchestrator_completed(now: int) -> pb.HistoryEvent:
    return _answer(
        now,
        orchestratorCompleted=pb.OrchestratorCompletedEvent(),
    )


def execution_started(
    now: int,
    instance: Instance,
    encoded_input: str | None,
    trace: pb.TraceContext | None = None,
    parent: Instance | None = None,
) -> pb.HistoryEvent:
    """`trace` is the context that the starter sent, `parent` the orchestration that waits."""
    link = instance.parent
    return _answer(
        now,
        executionStarted=pb.ExecutionStartedEvent(
            name=instance.name,
            version=text(instance.version),
            input=text(encoded_input),
            orchestrationInstance=pb.OrchestrationInstance(
                instanceId=instance.id, executionId=text(instance.execution)
            ),
            parentInstance=None if link is None else _parent_info(link, parent),
            scheduledStartTimestamp=optional_timestamp(instance.scheduled),
            parentTraceContext=trace,
            tags=instance.tags,
        ),
    )


def _parent_info(link: Parent, parent: Instance | None) -> pb.ParentInstanceInfo:
    return pb.ParentInstanceInfo(
        taskScheduledId=link.task,
        name=None if parent is None else text(parent.name),
        version=None if parent is None else text(parent.version),
        orchestrationInstance=pb.OrchestrationInstance(
            instanceId=link.instance_id, executionId=text(link.execution)
        ),
    )


def execution_completed(
    now: int, status: Status, result: str | None, details: pb.TaskFailureDetails | None
) -> pb.HistoryEvent:
    return _answer(
        now,
        executionCompleted=pb.ExecutionCompletedEvent(
            orchestrationStatus=wire_status(status), result=text(result), failureDetails=details
        ),
    )


def event_raised(now: int, name: str, data: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        eventRaised=pb.EventRaisedEvent(name=name, input=text(data)),
    )


def terminated(now: int, output: str | None, recurse: bool) -> pb.HistoryEvent:
    return _answer(
        now,
        executionTerminated=pb.ExecutionTerminatedEvent(input=text(output), recurse=recurse),
    )


def suspended(now: int, reason: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        executionSuspended=pb.ExecutionSuspendedEvent(input=text(reason)),
    )


def resumed(now: int, reason: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        executionResumed=pb.ExecutionResumedEvent(input=text(reason)),
    )


def rewound(now: int, reason: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        executionRewound=pb.ExecutionRewoundEvent(reason=text(reason)),
    )


def task_completed(now: int, task: int, result: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        taskCompleted=pb.TaskCompletedEvent(taskScheduledId=task, result=text(result)),
    )


def task_failed(now: int, task: int, details: pb.TaskFailureDetails) -> pb.HistoryEvent:
    return _answer(
        now,
        taskFailed=pb.TaskFailedEvent(taskScheduledId=task, failureDetails=details),
    )


def child_completed(now: int, task: int, result: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        subOrchestrationInstanceCompleted=pb.SubOrchestrationInstanceCompletedEvent(
            taskScheduledId=task, result=text(result)
        ),
    )


def child_failed(now: int, task: int, details: pb.TaskFailureDetails) -> pb.HistoryEvent:
    return _answer(
        now,
        subOrchestrationInstanceFailed=pb.SubOrchestrationInstanceFailedEvent(
            taskScheduledId=task, failureDetails=details
        ),
    )


def timer_fired(now: int, task: int, due: int) -> pb.HistoryEvent:
    return _answer(
        now,
        timerFired=pb.TimerFiredEvent(timerId=task, fireAt=timestamp(due)),
    )


def lock_granted(now: int, section: str) -> pb.HistoryEvent:
    return _answer(
        now,
        entityLockGranted=pb.EntityLockGrantedEvent(criticalSectionId=section),
    )


def operation_completed(now: int, request_id: str, output: str | None) -> pb.HistoryEvent:
    return _answer(
        now,
        entityOperationCompleted=pb.EntityOperationCompletedEvent(
            requestId=request_id, output=text(output)
        ),
    )


def operation_failed(now: int, request_id: str, details: pb.TaskFailureDetails) -> pb.HistoryEvent:
    return _answer(
        now,
        entityOperationFailed=pb.EntityOperationFailedEvent(
            requestId=request_id, failureDetails=details
        ),
    )
