"""How an orchestration ends: its row, its parent, its children, its timers and its locks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.histories import Histories
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.locks import Locks
from devhost.task_hub.durable.model import COMMITTING, Instance, Status
from devhost.task_hub.durable.notices import Notices
from devhost.task_hub.durable.proto import past_events, pb
from devhost.task_hub.durable.timers import Timers


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an orchestration ended."""

    status: Status
    output: str | None = None
    details: pb.TaskFailureDetails | None = None

    def event(self, now: int) -> pb.HistoryEvent:
        """The last event of its history."""
        return events.execution_completed(now, self.status, self.output, self.details)

    def for_parent(self, now: int, task: int, instance_id: str) -> pb.HistoryEvent:
        """What a parent hears of it. Only a completed child has a result."""
        if self.status is Status.COMPLETED:
            return events.child_completed(now, task, self.output)
        details = self.details or events.failure(
            "TaskHub.SubOrchestrationEnded",
            f"Sub-orchestration '{instance_id}' was {self.status.name.lower()}.",
        )
        return events.child_failed(now, task, details)


@dataclass(kw_only=True)
class Endings:
    """Ends orchestrations."""

    core: Core
    instances: Instances
    histories: Histories
    timers: Timers
    locks: Locks
    notices: Notices

    def end(
        self,
        instance: Instance,
        outcome: Outcome,
    ) -> None:
        """The last thing that happens to an instance, in the transaction of its last turn.

        Activities that are scheduled still run, as on Azure; nobody waits for their results.
        """
        core = self.core
        now = core.clock.wall()
        instance.status = outcome.status
        core.rows.end_instance(instance.num, now, outcome.status, outcome.output, outcome.details)
        instance.inbox.clear()
        self.histories.forget(instance)
        self.timers.drop_all(instance)
        self.locks.release_all(instance)
        self._tell_parent(instance, outcome)
        core.journal.after(partial(self._committed, instance))

    def end_here(
        self,
        instance: Instance,
        outcome: Outcome,
    ) -> None:
        """End an instance without a turn: what waits goes into its history as it is."""
        now = self.core.clock.wall()
        waiting = [message.event for message in (*instance.taken, *instance.inbox)]
        last = outcome.event(now).SerializeToString()
        self.core.rows.append_history(instance.num, past_events([*waiting, last]))
        instance.taken = []
        instance.token = COMMITTING
        self.end(instance, outcome)

    def terminate(self, instance: Instance, output: str | None, recurse: bool) -> None:
        """Ask an instance to end; one that never had a turn ends at once."""
        if instance.status.ended:
            return
        event = events.terminated(self.core.clock.wall(), output, recurse)
        self.instances.deliver(instance, event)
        if instance.status is Status.PENDING and instance.token is None:
            self.end_here(instance, Outcome(Status.TERMINATED, output))

    def terminate_children(self, instance: Instance, output: str | None) -> None:
        """A recursive termination goes on to the children, and from them to theirs."""
        for num in list(instance.children):
            self.terminate(self.core.state.instances[num], output, recurse=True)

    def _tell_parent(self, instance: Instance, outcome: Outcome) -> None:
        link = instance.parent
        if link is None:
            return
        parent = self.core.state.instances.get(link.num)
        if parent is not None:
            parent.children.discard(instance.num)
        event = outcome.for_parent(self.core.clock.wall(), link.task, instance.id)
        self.instances.answer(link.num, link.execution, event)

    def _committed(self, instance: Instance) -> None:
        if self.core.state.is_current(instance):  # else it was replaced meanwhile
            self.instances.put_away(instance)
            self.notices.tell(instance.id, instance.status)
