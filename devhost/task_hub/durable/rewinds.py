"""Rewind: a failed orchestration goes on from before its failure.

The worker writes the clean history; the hub puts it in place, starts what failed again, and
has the orchestration replayed.
"""

from __future__ import annotations

from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.endings import Outcome
from devhost.task_hub.durable.histories import Histories
from devhost.task_hub.durable.instances import Instances, NewInstance
from devhost.task_hub.durable.model import Activity, Instance, Parent, Status
from devhost.task_hub.durable.proto import optional_text, past_events, pb
from devhost.task_hub.durable.queries import InstanceRow


class Rewinds:
    """Reopens failed orchestrations."""

    def __init__(self, core: Core, instances: Instances, histories: Histories) -> None:
        self._core = core
        self._instances = instances
        self._histories = histories

    def reopen(self, row: InstanceRow, reason: str | None) -> Instance:
        """A failed instance runs again; its next turn asks the worker for the clean history."""
        core = self._core
        now = core.clock.wall()
        instance = Instance(
            num=row.num,
            id=row.id,
            name=row.name,
            version=row.version,
            execution=row.execution,
            status=Status.RUNNING,
            created=row.created,
            parent=row.parent,
            tags=row.tags,
            trace=row.trace,
            history=None,
        )
        core.rows.reopen_instance(instance.num, now)
        self._instances.admit(instance)
        instance.activities = len(self._activities(instance))
        for child in core.queries.children(instance.num):
            if child in core.state.instances:
                self._instances.admit(core.state.instances[child])
        self._instances.deliver(instance, events.rewound(now, reason))
        return instance

    def apply(self, instance: Instance, clean: list[pb.HistoryEvent]) -> None:
        """Put the worker's clean history in place and have it replayed.

        What was scheduled and neither ended nor is still to be done, because the instance had
        failed when it ended, is left out too: so the replay schedules it again.
        """
        core = self._core
        core.rows.delete_messages(message for message in instance.taken if message.seq)
        instance.taken = []
        kept = self._without_lost(instance, clean)
        self._histories.replace(instance, past_events(event.SerializeToString() for event in kept))
        reason = next(
            (
                optional_text(event.executionRewound, "reason")
                for event in reversed(kept)
                if event.HasField("executionRewound")
            ),
            None,
        )
        self._instances.deliver(instance, events.orchestrator_started(core.clock.wall()))
        for event in self._unfinished_children(kept):
            self._resume_child(instance, event, reason)
        core.journal.after(partial(self._committed, instance))

    def _activities(self, instance: Instance) -> list[Activity]:
        """The activities of this execution that are still to be done or are being done."""
        state = self._core.state
        known = map(state.activities.get, self._core.queries.activities(instance.num))
        return [a for a in known if a is not None and a.execution == instance.execution]

    def _committed(self, instance: Instance) -> None:
        instance.token = None
        self._instances.wake(instance)

    def _without_lost(
        self, instance: Instance, clean: list[pb.HistoryEvent]
    ) -> list[pb.HistoryEvent]:
        pending = {activity.task for activity in self._activities(instance)}
        ended = {e.taskCompleted.taskScheduledId for e in clean if e.HasField("taskCompleted")}
        fired = {e.timerFired.timerId for e in clean if e.HasField("timerFired")}

        def lost(event: pb.HistoryEvent) -> bool:
            if event.HasField("taskScheduled"):
                return event.eventId not in ended and event.eventId not in pending
            return event.HasField("timerCreated") and event.eventId not in fired

        return [event for event in clean if not lost(event)]

    def _unfinished_children(self, history: list[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
        ended = {
            event.subOrchestrationInstanceCompleted.taskScheduledId
            for event in history
            if event.HasField("subOrchestrationInstanceCompleted")
        }
        return [
            event
            for event in history
            if event.HasField("subOrchestrationInstanceCreated") and event.eventId not in ended
        ]

    def _resume_child(self, parent: Instance, created: pb.HistoryEvent, reason: str | None) -> None:
        """Have a child answer that did not: by running on, by its old result, or anew."""
        core = self._core
        wanted = created.subOrchestrationInstanceCreated
        row = core.queries.instance(wanted.instanceId, payloads=True)
        if core.state.find(wanted.instanceId) is not None:
            return  # it still runs, and will answer
        if row is None:
            self._instances.create(
                NewInstance(
                    id=wanted.instanceId,
                    name=wanted.name,
                    version=optional_text(wanted, "version"),
                    input=optional_text(wanted, "input"),
                    tags=dict(wanted.tags),
                    parent=Parent(parent.num, parent.execution, created.eventId, parent.id),
                )
            )
        elif row.status is Status.FAILED:
            self.reopen(row, reason)
        else:
            outcome = Outcome(row.status, row.output)
            event = outcome.for_parent(core.clock.wall(), created.eventId, row.id)
            self._instances.deliver(parent, event)
