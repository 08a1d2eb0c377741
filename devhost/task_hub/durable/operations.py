"""Entities: their queued operations, given out in order, one run of them at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.model import COMMITTING, Entity, Operation
from devhost.task_hub.durable.proto import entity_item, optional_text, pb, text
from devhost.task_hub.durable.ready import Key, Kind, Offer
from devhost.task_hub.durable.workers import Worker

logger = logging.getLogger("sluice.task_hub")

RUN = 100
"""Operations given out at once; the rest waits for the next run."""


class Operations:
    """Queues operations for entities, gives them out and takes their results."""

    def __init__(
        self, core: Core, instances: Instances, act: Callable[[pb.OperationAction], None]
    ) -> None:
        """`act` does what an operation asked for: a signal, or a new orchestration."""
        self._core = core
        self._instances = instances
        self._act = act

    def entity(self, entity_id: str) -> Entity:
        """The entity in memory; it comes to be with its first operation or lock."""
        core = self._core
        entity = core.state.entities.get(entity_id)
        if entity is None:
            entity = core.state.entities[entity_id] = Entity(entity_id)
            core.rows.touch_entity(entity_id, core.clock.wall())
        return entity

    def signal(self, entity_id: str, event: bytes) -> None:
        """Queue an operation that nobody waits for."""
        self._enqueue(entity_id, event, "", None, None)

    def call(
        self, entity_id: str, event: bytes, request_id: str, caller: int, execution: str
    ) -> None:
        """Queue an operation whose answer goes to an execution of an orchestration."""
        self._enqueue(entity_id, event, request_id, caller, execution)

    def _enqueue(
        self,
        entity_id: str,
        event: bytes,
        request_id: str,
        caller: int | None,
        execution: str | None,
    ) -> None:
        core = self._core
        entity = self.entity(entity_id)
        operation = Operation(core.journal.next_seq(), event, request_id, caller, execution)
        entity.operations.append(operation)
        core.rows.insert_operation(entity_id, operation)
        core.journal.after(partial(self.wake, entity))

    def wake(self, entity: Entity) -> None:
        """Offer the entity's next run, if there is one to do now."""
        if self._core.state.entities.get(entity.id) is not entity:
            return
        if entity.offered or entity.token is not None:
            return
        runnable = self._runnable(entity)
        if runnable:
            entity.offered = True
            self._core.dispatcher.offer(
                Offer(
                    Kind.ENTITY,
                    entity.id,
                    entity_name(entity.id),
                    None,
                    runnable[0].seq,
                    entity.lost,
                )
            )
        elif entity.idle:
            del self._core.state.entities[entity.id]

    def _runnable(self, entity: Entity) -> list[Operation]:
        """The operations that may run now: while it is locked, only those of the lock's owner."""
        committed = self._core.journal.committed
        runnable: list[Operation] = []
        for operation in entity.operations:
            if operation.seq > committed or len(runnable) == RUN:
                break
            if entity.owner is None or operation.caller == entity.owner:
                runnable.append(operation)
        return runnable

    def begin(self, key: Key, token: str, worker: Worker) -> bytes | None:
        entity = self._core.state.entities.get(str(key))
        if entity is None:
            return None
        entity.offered = False
        entity.taken = self._runnable(entity)
        if not entity.taken:
            return None
        for operation in entity.taken:
            entity.operations.remove(operation)
        entity.token = token
        return entity_item(
            token,
            pb.EntityRequest(
                instanceId=entity.id,
                entityState=text(self._core.queries.entity_state(entity.id)),
                operationRequests=[
                    pb.HistoryEvent.FromString(operation.event) for operation in entity.taken
                ],
            ),
        )

    def release(self, key: Key, token: str, lost: bool) -> None:
        entity = self._core.state.entities.get(str(key))
        if entity is None or entity.token != token:
            return
        entity.token = None
        if lost:
            self._set_lost(entity, entity.lost + 1)
        entity.operations.extendleft(reversed(entity.taken))
        entity.taken = []
        limit = self._core.settings.max_deliveries
        if limit and entity.lost >= limit:
            self._fail_lost(entity)
        else:
            self.wake(entity)

    def complete(self, response: pb.EntityBatchResult) -> None:
        """Take the results of a run. A late answer, of an earlier delivery, is ignored."""
        core = self._core
        token: str = response.completionToken
        lease = core.dispatcher.settle(token, Kind.ENTITY)
        entity = None if lease is None else core.state.entities.get(str(lease.key))
        if entity is None or entity.token != token:
            logger.info("Ignored a late answer for entity run %s", token)
            return
        now = core.clock.wall()
        taken, entity.taken = entity.taken, []
        entity.token = COMMITTING
        self._set_lost(entity, 0)
        if response.HasField("failureDetails"):
            self._answer_all(taken[len(response.results) :], response.failureDetails)
        else:
            core.rows.set_entity_state(entity.id, optional_text(response, "entityState"), now)
            # The worker did some and left the rest, which run again, before any later ones.
            entity.operations.extendleft(reversed(taken[len(response.results) :]))
        for operation, result in zip(taken, response.results, strict=False):
            core.rows.delete_operation(operation.seq)
            self._answer(operation, result)
        for action in response.actions:
            self._act(action)
        core.journal.after(partial(self._committed, entity))

    def _set_lost(self, entity: Entity, lost: int) -> None:
        if lost != entity.lost:
            entity.lost = lost
            self._core.rows.set_lost(Kind.ENTITY, entity.id, lost)

    def _committed(self, entity: Entity) -> None:
        entity.token = None
        self.wake(entity)

    def _answer(self, operation: Operation, result: pb.OperationResult) -> None:
        if operation.caller is None or operation.execution is None:
            return
        now = self._core.clock.wall()
        if result.HasField("failure"):
            event = events.operation_failed(
                now, operation.request_id, result.failure.failureDetails
            )
        else:
            output = optional_text(result.success, "result")
            event = events.operation_completed(now, operation.request_id, output)
        self._instances.answer(operation.caller, operation.execution, event)

    def _answer_all(self, operations: list[Operation], details: pb.TaskFailureDetails) -> None:
        """None of these will be done."""
        failed = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=details))
        for operation in operations:
            self._core.rows.delete_operation(operation.seq)
            self._answer(operation, failed)

    def _fail_lost(self, entity: Entity) -> None:
        logger.warning(
            "The waiting operations of entity %s failed: %d workers were lost with them",
            entity.id,
            entity.lost,
        )
        details = events.failure(
            "TaskHub.WorkerLost",
            f"{entity.lost} workers were lost while they ran entity '{entity.id}'.",
        )
        self._set_lost(entity, 0)
        runnable = self._runnable(entity)
        for operation in runnable:
            entity.operations.remove(operation)
        self._answer_all(runnable, details)
        self._core.journal.after(partial(self.wake, entity))


def entity_name(entity_id: str) -> str:
    """The name in an id `@name@key`, in lower case; the whole id when it has another form."""
    parts = entity_id.split("@", 2)
    return parts[1].lower() if len(parts) == 3 and not parts[0] else entity_id.lower()
