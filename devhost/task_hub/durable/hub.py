"""The hub without its transport: all parts put together over one database.

Every method runs to its end without waiting, on one thread. What it changed is durable, and may
be told to others, once the journal's open changes have been committed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

from devhost.task_hub.durable.actions import Actions, send_signal
from devhost.task_hub.durable.activities import Activities
from devhost.task_hub.durable.clock import Clock
from devhost.task_hub.durable.control import Control
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.database import Database
from devhost.task_hub.durable.dispatch import Dispatcher
from devhost.task_hub.durable.endings import Endings
from devhost.task_hub.durable.errors import InstanceNotFound
from devhost.task_hub.durable.histories import Histories
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.journal import Journal
from devhost.task_hub.durable.locks import Locks
from devhost.task_hub.durable.model import State, Status
from devhost.task_hub.durable.notices import Notices
from devhost.task_hub.durable.operations import Operations
from devhost.task_hub.durable.proto import parse_past_events, pb, present, text
from devhost.task_hub.durable.purge import Purge
from devhost.task_hub.durable.queries import Queries
from devhost.task_hub.durable.ready import Kind
from devhost.task_hub.durable.recovery import Recovery
from devhost.task_hub.durable.rewinds import Rewinds
from devhost.task_hub.durable.rows import Rows
from devhost.task_hub.durable.settings import HubSettings
from devhost.task_hub.durable.timers import Timers
from devhost.task_hub.durable.turns import Turns
from devhost.task_hub.durable.views import Views

CHUNK_EVENTS = 100
"""History events in one message of a history stream."""


class Hub:
    """Orchestrations, activities and entities of one database, and the workers that do them."""

    def __init__(self, database: Database, clock: Clock, settings: HubSettings) -> None:
        boot = database.boot()
        self.journal = Journal(boot)
        self.dispatcher = Dispatcher(boot, clock, settings)
        self.notices = Notices()
        queries = Queries(database.reader)
        core = self._core = Core(
            State(), self.journal, Rows(self.journal), queries, self.dispatcher, clock, settings
        )
        instances = self._instances = Instances(core)
        self.activities = Activities(core, instances)
        self.operations = Operations(core, instances, self._act)
        self._timers = Timers(core, instances, self.operations.signal)
        locks = Locks(core, instances, self.operations)
        histories = Histories(core)
        endings = Endings(
            core=core,
            instances=instances,
            histories=histories,
            timers=self._timers,
            locks=locks,
            notices=self.notices,
        )
        rewinds = Rewinds(core, instances, histories)
        actions = Actions(
            core=core,
            instances=instances,
            activities=self.activities,
            timers=self._timers,
            operations=self.operations,
            locks=locks,
            endings=endings,
        )
        self.turns = Turns(
            core=core,
            instances=instances,
            histories=histories,
            timers=self._timers,
            actions=actions,
            endings=endings,
            rewinds=rewinds,
            notices=self.notices,
        )
        self.control = Control(core, instances, self._timers, endings, rewinds)
        self.purge = Purge(core, instances)
        self.views = Views(queries)
        self.dispatcher.serve(Kind.TURN, self.turns)
        self.dispatcher.serve(Kind.ACTIVITY, self.activities)
        self.dispatcher.serve(Kind.ENTITY, self.operations)
        Recovery(core, database.reader, instances, self.activities, self._timers).load()
        self._resume()

    def _resume(self) -> None:
        """After a restart nothing is out with a worker: all that waits is offered."""
        self.activities.offer_all()
        for instance in self._core.state.instances.values():
            self._instances.wake(instance)
        for entity in list(self._core.state.entities.values()):
            self.operations.wake(entity)

    @property
    def state(self) -> State:
        """What is in memory, for tests and for counting."""
        return self._core.state

    def status(self, instance_id: str) -> Status | None:
        """The status of an instance; None when there is none of this id."""
        return self._instances.status(instance_id)

    def tick(self) -> None:
        """Do what has become due: fire timers, end pauses, take back what was held too long."""
        clock = self._core.clock
        self._core.alarms.ring(clock.wall())
        self.dispatcher.pauses.ring(clock.steady())
        self.dispatcher.expire()
        self.dispatcher.pump()

    def on_earlier_alarm(self, call: Callable[[], None]) -> None:
        """Have `call` made whenever `seconds_to_next` becomes less."""
        self._core.alarms.on_earlier = call
        self.dispatcher.pauses.on_earlier = call

    def seconds_to_next(self) -> float | None:
        """Until the next tick has something to do; None when nothing is to come."""
        clock = self._core.clock
        wall, steady = self._core.alarms.next(), self.dispatcher.pauses.next()
        waits = []
        if wall is not None:
            waits.append((wall - clock.wall()) / 1_000_000)
        if steady is not None:
            waits.append(steady - clock.steady())
        return max(min(waits), 0.0) if waits else None

    def history(self, instance_id: str) -> Iterator[pb.HistoryChunk]:
        """The committed history, in chunks. Raises InstanceNotFound at the first."""
        row = self._core.queries.instance(instance_id)
        if row is None:
            raise InstanceNotFound(instance_id)
        for piece in self._core.queries.history(row.num):
            events = parse_past_events(piece)
            for start in range(0, len(events), CHUNK_EVENTS):
                yield pb.HistoryChunk(events=events[start : start + CHUNK_EVENTS])

    def signal_entity(self, request: pb.SignalEntityRequest) -> pb.SignalEntityResponse:
        """Queue an operation from a client."""
        self._signal(request, request.requestId)
        return pb.SignalEntityResponse()

    def _signal(
        self, wanted: pb.SignalEntityRequest | pb.SendSignalAction, request_id: str
    ) -> None:
        """From a client or from another entity."""
        signal = pb.EntityOperationSignaledEvent(
            requestId=request_id or uuid.uuid4().hex,
            operation=wanted.name,
            input=present(wanted, "input"),
            scheduledTime=present(wanted, "scheduledTime"),
            targetInstanceId=text(wanted.instanceId),
        )
        send_signal(self._core, self.operations, self._timers, signal)

    def _act(self, action: pb.OperationAction) -> None:
        """What an entity's operation asked for."""
        if action.HasField("sendSignal"):
            self._signal(action.sendSignal, "")
        elif action.HasField("startNewOrchestration"):
            self.control.start_from_entity(action.startNewOrchestration)

    def clean_entities(
        self, request: pb.CleanEntityStorageRequest
    ) -> pb.CleanEntityStorageResponse:
        """Delete empty entities. No lock is ever orphaned: a lock ends with its owner."""
        removed = 0
        if request.removeEmptyEntities:
            for entity_id in self._core.queries.empty_entities():
                if entity_id not in self._core.state.entities:
                    self._core.rows.delete_entity(entity_id)
                    removed += 1
        return pb.CleanEntityStorageResponse(emptyEntitiesRemoved=removed)
