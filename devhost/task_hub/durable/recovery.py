"""The state in memory, rebuilt from the database: what runs, what waits, what is due."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

from devhost.task_hub.durable.activities import Activities
from devhost.task_hub.durable.core import Core
from devhost.task_hub.durable.instances import Instances
from devhost.task_hub.durable.model import (
    Activity,
    Entity,
    Instance,
    LockRequest,
    Message,
    Operation,
    Timer,
)
from devhost.task_hub.durable.queries import Filter
from devhost.task_hub.durable.timers import Timers


class Recovery:
    """Reads every table once. Ended instances and idle entities stay in the database."""

    def __init__(
        self,
        core: Core,
        reader: sqlite3.Connection,
        instances: Instances,
        activities: Activities,
        timers: Timers,
    ) -> None:
        self._core = core
        self._reader = reader
        self._instances = instances
        self._activities = activities
        self._timers = timers

    def load(self) -> None:
        """Parents come before their children: their numbers are smaller."""
        self._load_instances()
        for row in self._rows("SELECT seq, num, kind, event FROM messages ORDER BY seq"):
            self._core.state.instances[row[1]].inbox.append(Message(row[0], row[2], row[3]))
        for row in self._rows(
            "SELECT seq, num, execution, task, name, version, request, lost FROM activities"
            " ORDER BY seq"
        ):
            activity = Activity(*row[:7])
            activity.lost = row[7]
            self._activities.admit(activity)
        for row in self._rows("SELECT seq, due, num, task, entity, event FROM timers"):
            self._timers.admit(Timer(*row))
        self._load_entities()

    def _load_instances(self) -> None:
        running = Filter().add("completed IS NULL")
        for row in self._core.queries.instances(running, "num", -1):
            instance = Instance(
                num=row.num,
                id=row.id,
                name=row.name,
                version=row.version,
                execution=row.execution,
                status=row.status,
                created=row.created,
                scheduled=row.scheduled,
                parent=row.parent,
                tags=row.tags,
                trace=row.trace,
                history=None,
                lost=row.lost,
                pressing=True,
            )
            self._instances.admit(instance)
            self._timers.schedule_start(instance)

    def _load_entities(self) -> None:
        state = self._core.state
        for entity_id, section, owner, lost in self._rows(
            "SELECT id, section, owner, lost FROM entities WHERE section IS NOT NULL OR lost > 0"
        ):
            state.entities[entity_id] = Entity(entity_id, section, owner, lost=lost)
            if owner is not None:
                state.instances[owner].locking = True
        for entity_id, *operation in self._rows(
            "SELECT entity, seq, event, request_id, caller, execution FROM operations ORDER BY seq"
        ):
            entity = state.entities.setdefault(entity_id, Entity(entity_id))
            entity.operations.append(Operation(*operation))
        for seq, section, owner, entities in self._rows(
            "SELECT seq, section, owner, entities FROM lock_requests ORDER BY seq"
        ):
            state.lock_requests.append(
                LockRequest(seq, section, owner, tuple(json.loads(entities)))
            )
            state.instances[owner].locking = True

    def _rows(self, statement: str) -> Iterator[Any]:
        return self._reader.execute(statement)
