"""Orchestrations that run: how one comes to be, gets its events, and becomes ready for a turn."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from functools import partial

from devhost.task_hub.durable import events, pacing
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.model import (
    RESULTS,
    SURVIVES_CONTINUE_AS_NEW,
    WAKES_SUSPENDED,
    Instance,
    Message,
    Parent,
    Status,
)
from devhost.task_hub.durable.proto import pb
from devhost.task_hub.durable.ready import Kind, Offer


@dataclass(frozen=True, slots=True)
class NewInstance:
    """What is asked of a new orchestration."""

    id: str
    name: str
    version: str | None = None
    input: str | None = None
    scheduled: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    trace: pb.TraceContext | None = None
    parent: Parent | None = None


def new_execution() -> str:
    return uuid.uuid4().hex


class Instances:
    """Makes, feeds and wakes orchestrations."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def status(self, instance_id: str) -> Status | None:
        """The status of an instance, running or ended; None when there is none of this id."""
        instance = self._core.state.find(instance_id)
        if instance is not None:
            return instance.status
        return self._core.queries.status(instance_id)

    def create(self, new: NewInstance) -> Instance:
        """Start an orchestration. Its id must be free."""
        core = self._core
        now = core.clock.wall()
        instance = Instance(
            num=core.journal.next_seq(),
            id=new.id,
            name=new.name,
            version=new.version,
            execution=new_execution(),
            status=Status.PENDING,
            created=now,
            scheduled=new.scheduled,
            parent=new.parent,
            tags=new.tags,
        )
        core.rows.insert_instance(instance, new.input)
        self.admit(instance)
        parent = None if new.parent is None else core.state.instances.get(new.parent.num)
        self.deliver(
            instance, events.execution_started(now, instance, new.input, new.trace, parent)
        )
        return instance

    def admit(self, instance: Instance) -> None:
        """Take an instance that runs into memory."""
        state = self._core.state
        state.instances[instance.num] = instance
        state.numbers[instance.id] = instance.num
        if instance.parent is not None:
            parent = state.instances.get(instance.parent.num)
            if parent is not None and parent.execution == instance.parent.execution:
                parent.children.add(instance.num)

    def forget(self, instance_id: str) -> None:
        """Delete an instance with all that belongs to it, if there is one of this id."""
        core = self._core
        instance = core.state.find(instance_id)
        if instance is not None:
            self.put_away(instance)
            self.erase(instance.num)
            return
        row = core.queries.instance(instance_id)
        if row is not None:
            self.erase(row.num)

    def erase(self, num: int) -> None:
        """Delete the rows of an instance that is not in memory (any more)."""
        for seq in self._core.queries.activities(num):
            self._core.state.activities.pop(seq, None)
        self._core.rows.forget_instance(num)

    def put_away(self, instance: Instance) -> None:
        """Take an instance out of memory, with its alarms."""
        core = self._core
        del core.state.instances[instance.num]
        del core.state.numbers[instance.id]
        core.alarms.cancel(instance.num)
        for seq in instance.timers:
            del core.state.timers[seq]
            core.alarms.cancel(seq)

    def deliver(self, instance: Instance, event: pb.HistoryEvent) -> None:
        """Put an event into an instance's inbox, and wake it once that is durable."""
        self.put(instance, events.kind_of(event), event.SerializeToString())

    def put(self, instance: Instance, kind: str, event: bytes) -> None:
        """`deliver` for an event that is serialized already."""
        core = self._core
        message = Message(core.journal.next_seq(), kind, event)
        instance.inbox.append(message)
        if message.kind in RESULTS:
            instance.last_result = core.clock.steady()
            if instance.first_result is None:
                instance.first_result = instance.last_result
        else:
            instance.pressing = True
        core.rows.insert_message(instance.num, message)
        core.journal.after(partial(self.wake, instance))

    def answer(self, num: int, execution: str, event: pb.HistoryEvent) -> bool:
        """Deliver a result to the execution that waits for it; False when it no longer does."""
        instance = self._core.state.instances.get(num)
        if instance is None or instance.status.ended or instance.execution != execution:
            return False
        self.deliver(instance, event)
        return True

    def wake(self, instance: Instance) -> None:
        """Offer the next turn, if there is one to take now."""
        core = self._core
        if instance.offered or instance.token is not None or not self._may_begin(instance):
            return
        if self._collects(instance):
            return
        instance.offered = True
        core.dispatcher.offer(
            Offer(
                Kind.TURN,
                instance.num,
                instance.name,
                instance.version,
                instance.inbox[0].seq,
                instance.lost,
            )
        )

    def start(self, instance: Instance) -> None:
        """The time of a scheduled start has come. It stays so, even if the clock goes back."""
        instance.scheduled = None
        self.wake(instance)

    def _resume(self, instance: Instance) -> None:
        instance.paused = False
        self.wake(instance)

    def _may_begin(self, instance: Instance) -> bool:
        core = self._core
        if instance.status.ended or not core.state.is_current(instance):
            return False
        if not instance.inbox or instance.inbox[0].seq > core.journal.committed:
            return False
        if instance.status is Status.SUSPENDED:
            return any(message.kind in WAKES_SUSPENDED for message in instance.inbox)
        return instance.status is not Status.PENDING or instance.scheduled is None

    def _collects(self, instance: Instance) -> bool:
        """Whether the next turn waits for more results; it is woken again when it should begin."""
        core = self._core
        if instance.pressing or instance.first_result is None:
            return False
        now = core.clock.steady()
        latest = instance.first_result + pacing.longest(instance.last_turn)
        if instance.inbox[-1].seq > core.journal.committed and now < latest:
            return True  # what came last is still being written, and wakes it when it is
        due = min(instance.last_result + pacing.quiet(instance.last_turn), latest)
        if due <= now or not instance.outstanding:
            return False
        if not instance.paused:
            instance.paused = True
            core.dispatcher.pauses.set(due, partial(self._resume, instance))
        return True

    def take(self, instance: Instance) -> list[Message]:
        """The messages of the next turn, out of the inbox; none when it may not begin."""
        if not self._may_begin(instance):
            return []
        inbox, committed = instance.inbox, self._core.journal.committed
        # A worker rewrites a history only when the rewind is all that happened.
        alone = inbox[0].kind == "executionRewound"
        taken = [inbox.popleft()]
        while not alone and inbox and inbox[0].seq <= committed:
            taken.append(inbox.popleft())
        instance.first_result = None
        instance.pressing = any(message.kind not in RESULTS for message in inbox)
        return taken

    def clear_inbox(self, instance: Instance) -> list[Message]:
        """Empty the inbox at the end of an execution; returns what is also for the next one."""
        kept = [m for m in instance.inbox if m.kind in SURVIVES_CONTINUE_AS_NEW]
        self._core.rows.delete_messages(instance.inbox)
        instance.inbox.clear()
        return kept
