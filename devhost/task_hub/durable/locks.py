"""Critical sections: entity locks, all of a section's or none, in the order they were asked for.

A lock that waits also claims its entities against the ones behind it, so nobody starves; as a
section takes all its locks in one step, there is no order in which two could block each other.
"""

from __future__ import annotations

from functools import partial

from devhost.task_hub.durable import events
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.model import Instance, LockRequest
from devhost.task_hub.durable.operations import Operations
from devhost.task_hub.durable.proto import pb


class Locks:
    """Grants and releases the locks of critical sections."""

    def __init__(self, core: Core, instances: Instances, operations: Operations) -> None:
        self._core = core
        self._instances = instances
        self._operations = operations

    def request(self, instance: Instance, wanted: pb.EntityLockRequestedEvent) -> None:
        """The instance asks for a critical section over some entities."""
        core = self._core
        request = LockRequest(
            core.journal.next_seq(),
            wanted.criticalSectionId,
            instance.num,
            tuple(wanted.lockSet),
        )
        instance.locking = True
        core.rows.insert_lock_request(request)
        core.state.lock_requests.append(request)
        self._grant()

    def unlock(self, section: str, entity_id: str) -> None:
        """The section leaves an entity, or gives up waiting for its locks."""
        for request in self._core.state.lock_requests:
            if request.section == section:
                self._withdraw(request)
                break
        else:
            self._free(section, entity_id)
        self._grant()

    def release_all(self, instance: Instance) -> None:
        """An instance ended: whatever it holds or waits for is free."""
        if not instance.locking:
            return
        state = self._core.state
        for request in [r for r in state.lock_requests if r.owner == instance.num]:
            self._withdraw(request)
        for entity in [e for e in state.entities.values() if e.owner == instance.num]:
            self._free(entity.section or "", entity.id)
        self._grant()

    def _withdraw(self, request: LockRequest) -> None:
        self._core.state.lock_requests.remove(request)
        self._core.rows.delete_lock_request(request.seq)

    def _free(self, section: str, entity_id: str) -> None:
        entity = self._core.state.entities.get(entity_id)
        if entity is None or entity.section != section:
            return
        entity.section = entity.owner = None
        self._core.rows.lock_entity(entity_id, None, None)
        self._core.journal.after(partial(self._operations.wake, entity))

    def _grant(self) -> None:
        """Grant every waiting section whose entities are neither locked nor claimed before it."""
        core = self._core
        claimed: set[str] = set()
        for request in list(core.state.lock_requests):
            free = claimed.isdisjoint(request.entities) and not any(
                self._is_locked(entity_id) for entity_id in request.entities
            )
            if not free:
                claimed.update(request.entities)
                continue
            self._withdraw(request)
            for entity_id in request.entities:
                entity = self._operations.entity(entity_id)
                entity.section, entity.owner = request.section, request.owner
                core.rows.lock_entity(entity_id, request.section, request.owner)
            owner = core.state.instances[request.owner]
            self._instances.deliver(owner, events.lock_granted(core.clock.wall(), request.section))

    def _is_locked(self, entity_id: str) -> bool:
        entity = self._core.state.entities.get(entity_id)
        return entity is not None and entity.section is not None
