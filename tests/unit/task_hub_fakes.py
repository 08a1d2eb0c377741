"""A hub without its transport, a clock that stands still, and workers that run scripts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf import wrappers_pb2

from devhost.task_hub.durable.database import Database
from devhost.task_hub.durable.hub import Hub
from devhost.task_hub.durable.proto import timestamp
from devhost.task_hub.durable.settings import HubSettings

START = 1_700_000_000_000_000


class FakeClock:
    """Stands still until it is told to go on, or to jump."""

    def __init__(self) -> None:
        self.micros = START
        self.apart = 0
        """By how much the time of day has jumped, in microseconds."""

    def wall(self) -> int:
        return self.micros + self.apart

    def steady(self) -> float:
        return self.micros / 1_000_000

    def advance(self, seconds: float) -> None:
        self.micros += round(seconds * 1_000_000)

    def jump(self, seconds: float) -> None:
        """The time of day is set, while time goes on as ever."""
        self.apart += round(seconds * 1_000_000)


class BenchHub:
    """A hub on a real database. What it changes is durable after `commit`, lost by `crash`."""

    def __init__(self, state: Path, **settings: float) -> None:
        self.clock = FakeClock()
        self.settings = HubSettings(state=state, **settings)
        self._open()

    def _open(self) -> None:
        self.database = Database(self.settings.state)
        self.hub = Hub(self.database, self.clock, self.settings)

    def commit(self) -> None:
        """All that is open, and what that leads to."""
        while self.hub.journal.open:
            changes = self.hub.journal.take()
            self.database.apply(changes)
            self.hub.journal.done(changes)
            self.hub.dispatcher.pump()

    def crash(self) -> None:
        """The process ends at once; a new one begins on the same files."""
        self.database.close()
        self._open()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.hub.tick()

    def start(self, script: object = (), instance_id: str = "job") -> str:
        self.hub.control.start(
            pb.CreateInstanceRequest(instanceId=instance_id, name="script", input=_json(script))
        )
        return instance_id

    def connect(self, **limits: int) -> FakeWorker:
        return FakeWorker(self, pb.GetWorkItemsRequest(**limits))

    def state(self, instance_id: str = "job") -> pb.OrchestrationState:
        return self.hub.views.instance(instance_id, True).orchestrationState

    def status(self, instance_id: str = "job") -> str:
        name = pb.OrchestrationStatus.Name(self.state(instance_id).orchestrationStatus)
        return name.removeprefix("ORCHESTRATION_STATUS_")

    def history(self, instance_id: str = "job") -> list[pb.HistoryEvent]:
        return [event for chunk in self.hub.history(instance_id) for event in chunk.events]

    def kinds(self, instance_id: str = "job") -> list[str | None]:
        return [event.WhichOneof("eventType") for event in self.history(instance_id)]

    def entity(self, entity_id: str) -> pb.EntityMetadata:
        request = pb.GetEntityRequest(instanceId=entity_id, includeState=True)
        return self.hub.views.entity(request).entity

    def rows(self) -> dict[str, int]:
        """How many rows wait in each table for something to happen."""
        tables = ("messages", "activities", "timers", "operations", "lock_requests")
        counts = {
            table: self.database.reader.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in tables
        }
        return {table: count for table, count in counts.items() if count}


class FakeWorker:
    """Holds what it is given until it is told to answer; runs the scripts below."""

    def __init__(self, bench: BenchHub, request: pb.GetWorkItemsRequest) -> None:
        self._bench = bench
        self.link = bench.hub.dispatcher.connect(request, lambda: None)
        bench.hub.dispatcher.pump()

    def take(self) -> list[pb.WorkItem]:
        """What was sent to it since the last time."""
        items = [pb.WorkItem.FromString(item) for item in self.link.outbox]
        self.link.outbox.clear()
        return items

    def take_one(self) -> pb.WorkItem:
        [item] = self.take()
        return item

    def disconnect(self) -> None:
        self._bench.hub.dispatcher.disconnect(self.link)
        self._bench.hub.dispatcher.pump()

    def work(self) -> None:
        """Answer until there is nothing more to do now."""
        self._bench.commit()
        while items := self.take():
            for item in items:
                answer(self._bench, item)
                self._bench.commit()


def answer(bench: BenchHub, item: pb.WorkItem) -> None:
    """Do a work item as a worker does, and report it."""
    token = item.completionToken
    match item.WhichOneof("request"):
        case "orchestratorRequest":
            actions = run_script(item.orchestratorRequest)
            bench.hub.turns.complete(
                pb.OrchestratorResponse(completionToken=token, actions=actions)
            )
        case "activityRequest":
            result = _text(f'"did {item.activityRequest.input.value}"')
            bench.hub.activities.complete(pb.ActivityResponse(completionToken=token, result=result))
        case "entityRequestV2":
            bench.hub.operations.complete(_run_counter(item.entityRequestV2, token))
    bench.hub.dispatcher.pump()


# Scripts: lists of steps, each done when what it waits for has come.
#   ["activities", n]  ["timer", seconds]  ["event"]  ["child", script]
#   ["signal", entity]  ["call", entity]  ["lock", [entities]]  ["again", script]


def run_script(request: pb.OrchestratorRequest) -> list[pb.OrchestratorAction]:
    """One turn of the orchestrator that follows the script in its input."""
    events = [*request.pastEvents, *request.newEvents]
    started = next(e.executionStarted for e in events if e.HasField("executionStarted"))
    if any(e.HasField("executionTerminated") for e in events):
        return [_complete(999_999, pb.ORCHESTRATION_STATUS_TERMINATED, "ended")]
    known = _Known(events)
    actions: list[pb.OrchestratorAction] = []
    script = json.loads(started.input.value)
    for number, (kind, *arguments) in enumerate(script):
        if kind == "again":
            done = _complete(999_999, pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW, arguments[0])
            return [*actions, done]
        wanted = list(_wanted(kind, arguments, number * 1000, started.orchestrationInstance))
        actions += [action for action in wanted if action.id not in known.confirmed]
        if not known.is_done(kind, wanted):
            return actions
    return [*actions, _complete(999_999, pb.ORCHESTRATION_STATUS_COMPLETED, known.results)]


class _Known:
    """What a history says. Anything told twice is a fault of the hub."""

    def __init__(self, events: list[pb.HistoryEvent]) -> None:
        self.confirmed = {event.eventId for event in events if event.eventId >= 0}
        answers = map(_answers, events)
        self.answered = Counter(key for key in answers if key is not None)
        twice = [key for key, count in self.answered.items() if count > 1 and key != "event"]
        assert not twice, f"answered twice: {twice}"
        self._events = self.answered["event"]
        self.results = sum(self.answered.values())

    def is_done(self, kind: str, wanted: list[pb.OrchestratorAction]) -> bool:
        if kind == "event":
            self._events -= 1
            return self._events >= 0
        if kind in {"signal", "unlock"}:
            return True
        return all(_key(action) in self.answered for action in wanted)


def _answers(event: pb.HistoryEvent) -> object | None:
    """The request that an event answers."""
    match event.WhichOneof("eventType"):
        case "taskCompleted":
            return event.taskCompleted.taskScheduledId
        case "timerFired":
            return event.timerFired.timerId
        case "subOrchestrationInstanceCompleted":
            return event.subOrchestrationInstanceCompleted.taskScheduledId
        case "subOrchestrationInstanceFailed":
            return event.subOrchestrationInstanceFailed.taskScheduledId
        case "entityOperationCompleted":
            return event.entityOperationCompleted.requestId
        case "entityLockGranted":
            return event.entityLockGranted.criticalSectionId
        case "eventRaised":
            return "event"
    return None


def _key(action: pb.OrchestratorAction) -> object:
    message = action.sendEntityMessage
    if message.HasField("entityOperationCalled"):
        return message.entityOperationCalled.requestId
    if message.HasField("entityLockRequested"):
        return message.entityLockRequested.criticalSectionId
    return action.id


def _wanted(
    kind: str, arguments: list, first: int, me: pb.OrchestrationInstance
) -> Iterator[pb.OrchestratorAction]:
    section = f"{me.instanceId}/{me.executionId.value}/{first}"
    if kind == "activities":
        for number in range(arguments[0]):
            task = pb.ScheduleTaskAction(name="do", input=_text(f"{number}"))
            yield pb.OrchestratorAction(id=first + number, scheduleTask=task)
    elif kind == "timer":
        # As an orchestrator's clock does not move between turns, the time is a fixed one.
        due = timestamp(START + round(arguments[0] * 1_000_000))
        yield pb.OrchestratorAction(id=first, createTimer=pb.CreateTimerAction(fireAt=due))
    elif kind == "child":
        child = pb.CreateSubOrchestrationAction(
            instanceId=f"{me.instanceId}:{first}", name="script", input=_json(arguments[0])
        )
        yield pb.OrchestratorAction(id=first, createSubOrchestration=child)
    elif kind == "signal":
        signal = pb.EntityOperationSignaledEvent(
            requestId=section, operation="add", targetInstanceId=_text(arguments[0])
        )
        yield _send(first, entityOperationSignaled=signal)
    elif kind == "call":
        call = pb.EntityOperationCalledEvent(
            requestId=section,
            operation="add",
            targetInstanceId=_text(arguments[0]),
            parentInstanceId=_text(me.instanceId),
        )
        yield _send(first, entityOperationCalled=call)
    elif kind == "lock":
        lock = pb.EntityLockRequestedEvent(
            criticalSectionId=f"{me.instanceId}/{me.executionId.value}",
            lockSet=sorted(arguments[0]),
            parentInstanceId=_text(me.instanceId),
        )
        yield _send(first, entityLockRequested=lock)
    elif kind == "unlock":
        for number, entity_id in enumerate(arguments[0]):
            unlock = pb.EntityUnlockSentEvent(
                criticalSectionId=f"{me.instanceId}/{me.executionId.value}",
                targetInstanceId=_text(entity_id),
            )
            yield _send(first + number, entityUnlockSent=unlock)


def _send(action_id: int, **message: object) -> pb.OrchestratorAction:
    sent = pb.SendEntityMessageAction(**message)
    return pb.OrchestratorAction(id=action_id, sendEntityMessage=sent)


def _complete(action_id: int, status: int, result: object) -> pb.OrchestratorAction:
    done = pb.CompleteOrchestrationAction(orchestrationStatus=status, result=_json(result))
    return pb.OrchestratorAction(id=action_id, completeOrchestration=done)


def _run_counter(request: pb.EntityRequest, token: str) -> pb.EntityBatchResult:
    """An entity that counts its operations."""
    count = int(request.entityState.value or "0") + len(request.operationRequests)
    done = pb.OperationResult(success=pb.OperationResultSuccess(result=_text("null")))
    return pb.EntityBatchResult(
        completionToken=token,
        entityState=_text(str(count)),
        results=[done for _ in request.operationRequests],
    )


def _text(value: str) -> wrappers_pb2.StringValue:
    return wrappers_pb2.StringValue(value=value)


def _json(value: object) -> wrappers_pb2.StringValue:
    return _text(json.dumps(value))
