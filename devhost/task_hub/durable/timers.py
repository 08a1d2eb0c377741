"""Durable timers and delayed signals: due at a wall-clock time, also after a restart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.model import Instance, Status, Timer


class Timers:
    """Sets timers and fires them once."""

    def __init__(
        self, core: Core, instances: Instances, on_signal: Callable[[str, bytes], None]
    ) -> None:
        """`on_signal` takes an entity's id and a serialized event when its time has come."""
        self._core = core
        self._instances = instances
        self._on_signal = on_signal

    def create(self, instance: Instance, task: int, due: int) -> None:
        """A timer that answers the instance under this task id."""
        timer = Timer(self._core.journal.next_seq(), due, num=instance.num, task=task)
        self._core.rows.insert_timer(timer)
        self.admit(timer)

    def delay_signal(self, entity_id: str, due: int, event: bytes) -> None:
        """A signal that reaches its entity at `due`."""
        timer = Timer(self._core.journal.next_seq(), due, entity=entity_id, event=event)
        self._core.rows.insert_timer(timer)
        self.admit(timer)

    def admit(self, timer: Timer) -> None:
        """Take a timer that has its row into memory."""
        core = self._core
        core.state.timers[timer.seq] = timer
        if timer.num is not None:
            core.state.instances[timer.num].timers.add(timer.seq)
        core.alarms.set(timer.due, partial(self._fire, timer), timer.seq)

    def schedule_start(self, instance: Instance) -> None:
        """Have an instance start at its time, if it has one. Its own row says when."""
        if instance.scheduled is not None and instance.status is Status.PENDING:
            start = partial(self._instances.start, instance)
            self._core.alarms.set(instance.scheduled, start, instance.num)

    def drop_all(self, instance: Instance) -> None:
        """Forget an instance's timers; their rows go with it."""
        for seq in instance.timers:
            del self._core.state.timers[seq]
            self._core.alarms.cancel(seq)
        instance.timers.clear()

    def _fire(self, timer: Timer) -> None:
        core = self._core
        del core.state.timers[timer.seq]
        core.rows.delete_timer(timer.seq)
        if timer.entity is not None:
            self._on_signal(timer.entity, timer.event)
        if timer.num is not None and timer.task is not None:
            instance = core.state.instances[timer.num]
            instance.timers.discard(timer.seq)
            self._instances.deliver(
                instance, events.timer_fired(core.clock.wall(), timer.task, timer.due)
            )
