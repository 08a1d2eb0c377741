"""What an orchestrator's turn asked for, done in one transaction with its history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from devhost.task_hub.durable import events
from devhost.task_hub.durable.activities import Activities
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.endings import Endings
from devhost.task_hub.durable.instances import Instances, NewInstance
from devhost.task_hub.durable.locks import Locks
from devhost.task_hub.durable.model import Instance, Parent
from devhost.task_hub.durable.operations import Operations
from devhost.task_hub.durable.proto import micros, optional_text, pb, present
from devhost.task_hub.durable.timers import Timers


@dataclass(kw_only=True)
class Actions:
    """Does one action and says which event of the history confirms it."""

    core: Core
    instances: Instances
    activities: Activities
    timers: Timers
    operations: Operations
    locks: Locks
    endings: Endings
    _do: dict[str, Callable[[Instance, int, Any], pb.HistoryEvent | None]] = field(init=False)

    def __post_init__(self) -> None:
        self._do = {
            "scheduleTask": self._schedule_task,
            "createTimer": self._create_timer,
            "createSubOrchestration": self._create_child,
            "sendEvent": self._send_event,
            "sendEntityMessage": self._send_entity_message,
            "terminateOrchestration": self._terminate,
        }

    def do(self, instance: Instance, action: pb.OrchestratorAction) -> pb.HistoryEvent | None:
        """Do an action of a turn of this instance. An unknown kind of action raises KeyError."""
        kind = action.WhichOneof("orchestratorActionType")
        return self._do[kind](instance, action.id, getattr(action, kind))

    def _schedule_task(
        self, instance: Instance, action_id: int, wanted: pb.ScheduleTaskAction
    ) -> pb.HistoryEvent:
        self.activities.schedule(instance, action_id, wanted)
        return events.confirm(
            self.core.clock.wall(),
            action_id,
            taskScheduled=pb.TaskScheduledEvent(
                name=wanted.name,
                version=present(wanted, "version"),
                input=present(wanted, "input"),
                parentTraceContext=present(wanted, "parentTraceContext"),
                tags=wanted.tags,
            ),
        )

    def _create_timer(
        self, instance: Instance, action_id: int, wanted: pb.CreateTimerAction
    ) -> pb.HistoryEvent:
        self.timers.create(instance, action_id, micros(wanted.fireAt))
        return events.confirm(
            self.core.clock.wall(),
            action_id,
            timerCreated=pb.TimerCreatedEvent(fireAt=wanted.fireAt),
        )

    def _create_child(
        self, instance: Instance, action_id: int, wanted: pb.CreateSubOrchestrationAction
    ) -> pb.HistoryEvent:
        now = self.core.clock.wall()
        child_id = wanted.instanceId or f"{instance.id}:{action_id:04x}"
        existing = self.instances.status(child_id)
        if existing is None or existing.ended:
            if existing is not None:
                self.instances.forget(child_id)
            self.instances.create(
                NewInstance(
                    id=child_id,
                    name=wanted.name,
                    version=optional_text(wanted, "version"),
                    input=optional_text(wanted, "input"),
                    tags=dict(wanted.tags),
                    trace=present(wanted, "parentTraceContext"),
                    parent=Parent(instance.num, instance.execution, action_id, instance.id),
                )
            )
        else:
            taken = events.failure(
                "TaskHub.InstanceExists", f"Orchestration instance '{child_id}' already exists"
            )
            self.instances.deliver(instance, events.child_failed(now, action_id, taken))
        return events.confirm(
            now,
            action_id,
            subOrchestrationInstanceCreated=pb.SubOrchestrationInstanceCreatedEvent(
                instanceId=child_id,
                name=wanted.name,
                version=present(wanted, "version"),
                input=present(wanted, "input"),
                parentTraceContext=present(wanted, "parentTraceContext"),
                tags=wanted.tags,
            ),
        )

    def _send_event(
        self, instance: Instance, action_id: int, wanted: pb.SendEventAction
    ) -> pb.HistoryEvent:
        now = self.core.clock.wall()
        target_id: str = wanted.instance.instanceId
        target = self.core.state.find(target_id)
        if target is not None and not target.status.ended:
            data = optional_text(wanted, "data")
            self.instances.deliver(target, events.event_raised(now, wanted.name, data))
        return events.confirm(
            now,
            action_id,
            eventSent=pb.EventSentEvent(
                instanceId=target_id, name=wanted.name, input=present(wanted, "data")
            ),
        )

    def _terminate(
        self, instance: Instance, action_id: int, wanted: pb.TerminateOrchestrationAction
    ) -> None:
        target = self.core.state.find(wanted.instanceId)
        if target is not None:
            self.endings.terminate(target, optional_text(wanted, "reason"), wanted.recurse)

    def _send_entity_message(
        self, instance: Instance, action_id: int, wanted: pb.SendEntityMessageAction
    ) -> pb.HistoryEvent:
        kind = wanted.WhichOneof("EntityMessageType")
        message = getattr(wanted, kind)
        now = self.core.clock.wall()
        event = events.confirm(now, action_id, **{kind: message})
        if kind == "entityOperationSignaled":
            send_signal(self.core, self.operations, self.timers, message)
        elif kind == "entityOperationCalled":
            self.operations.call(
                message.targetInstanceId.value,
                event.SerializeToString(),
                message.requestId,
                instance.num,
                instance.execution,
            )
        elif kind == "entityLockRequested":
            self.locks.request(instance, message)
        else:
            self.locks.unlock(message.criticalSectionId, message.targetInstanceId.value)
        return event


def send_signal(
    core: Core,
    operations: Operations,
    timers: Timers,
    signal: pb.EntityOperationSignaledEvent,
) -> None:
    """A signal reaches its entity now, or at the time that it names."""
    now = core.clock.wall()
    entity_id: str = signal.targetInstanceId.value
    event = events.confirm(now, -1, entityOperationSignaled=signal).SerializeToString()
    due = micros(signal.scheduledTime) if signal.HasField("scheduledTime") else now
    if due > now:
        timers.delay_signal(entity_id, due, event)
    else:
        operations.signal(entity_id, event)
