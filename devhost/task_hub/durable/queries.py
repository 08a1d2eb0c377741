"""What is read from the database while the hub runs. Each call sees the last commit."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from devhost.task_hub.durable.journal import Value
from devhost.task_hub.durable.model import ENDED, Parent, Status

PAGE = 100
MAX_PAGE = 1000

_LIGHT = (
    "num, id, name, version, execution, status, created, updated, completed, scheduled,"
    " parent, parent_execution, parent_task, parent_id, tags, trace, custom_status, failure, lost"
)


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """A row of `instances`. Input and output are None when they were not asked for."""

    num: int
    id: str
    name: str
    version: str | None
    execution: str
    status: Status
    created: int
    updated: int
    completed: int | None
    scheduled: int | None
    parent: Parent | None
    tags: dict[str, str]
    trace: bytes
    custom_status: str | None
    failure: bytes | None
    lost: int
    input: str | None = None
    output: str | None = None


@dataclass(frozen=True, slots=True)
class EntityRow:
    """A row of `entities`, with how many operations wait for it."""

    id: str
    state: str | None
    modified: int
    owner_id: str | None
    backlog: int


class Filter:
    """The conditions of a WHERE clause, all of which must hold."""

    def __init__(self) -> None:
        self._conditions: list[str] = ["1"]
        self.values: list[Value] = []

    def add(self, condition: str, *values: Value) -> Filter:
        self._conditions.append(condition)
        self.values.extend(values)
        return self

    def statuses(self, statuses: Iterable[int]) -> Filter:
        """One of these statuses; none given means any."""
        wanted = list(statuses)
        if wanted:
            self.add(f"status IN ({', '.join('?' * len(wanted))})", *wanted)
        return self

    def prefix(self, column: str, prefix: str) -> Filter:
        return self.add(f"substr({column}, 1, ?) = ?", len(prefix), prefix)

    @property
    def clause(self) -> str:
        return " AND ".join(self._conditions)


class Queries:
    """Reads on the hub's reading connection."""

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader

    def instance(self, instance_id: str, payloads: bool = False) -> InstanceRow | None:
        rows = self.instances(Filter().add("id = ?", instance_id), "num", 1, payloads)
        return rows[0] if rows else None

    def instances(
        self, wanted: Filter, order: str, limit: int, payloads: bool = False
    ) -> list[InstanceRow]:
        """Instances by a filter; `order` is one of the indexed orders."""
        columns = _LIGHT + (", input, output" if payloads else "")
        cursor = self._reader.execute(
            f"SELECT {columns} FROM instances"  # noqa: S608  conditions are ours
            f" WHERE {wanted.clause} ORDER BY {order} LIMIT ?",
            (*wanted.values, limit),
        )
        return [_instance_row(row) for row in cursor]

    def status(self, instance_id: str) -> Status | None:
        row = self._one("SELECT status FROM instances WHERE id = ?", instance_id)
        return None if row is None else Status(row[0])

    def history(self, num: int) -> list[bytes]:
        """The history of an instance in its written pieces."""
        cursor = self._reader.execute(
            "SELECT events FROM history WHERE num = ? ORDER BY seq", (num,)
        )
        return [events for (events,) in cursor]

    def children(self, num: int) -> list[int]:
        """Every orchestration that this one started and that is still known."""
        cursor = self._reader.execute("SELECT num FROM instances WHERE parent = ?", (num,))
        return [child for (child,) in cursor]

    def activities(self, num: int) -> list[int]:
        """Sequence numbers of the instance's activities that have not ended."""
        cursor = self._reader.execute("SELECT seq FROM activities WHERE num = ?", (num,))
        return [seq for (seq,) in cursor]

    def ended(self, num: int) -> bool:
        """Whether there is such an instance and it has ended."""
        row = self._one("SELECT status FROM instances WHERE num = ?", num)
        return row is not None and Status(row[0]) in ENDED

    def entity_state(self, entity_id: str) -> str | None:
        row = self._one("SELECT state FROM entities WHERE id = ?", entity_id)
        return None if row is None else row[0]

    def entities(self, wanted: Filter, limit: int) -> list[EntityRow]:
        cursor = self._reader.execute(
            "SELECT e.id, e.state, e.modified, i.id,"  # noqa: S608  conditions are ours
            " (SELECT count(*) FROM operations o WHERE o.entity = e.id)"
            " FROM entities e LEFT JOIN instances i ON i.num = e.owner"
            f" WHERE {wanted.clause} ORDER BY e.id LIMIT ?",
            (*wanted.values, limit),
        )
        return [EntityRow(*row) for row in cursor]

    def empty_entities(self) -> list[str]:
        """Entities without state, lock or waiting operations."""
        cursor = self._reader.execute(
            "SELECT id FROM entities e WHERE state IS NULL AND section IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM operations o WHERE o.entity = e.id)"
        )
        return [entity_id for (entity_id,) in cursor]

    def _one(self, statement: str, *values: Value) -> Sequence[Any] | None:
        row: Sequence[Any] | None = self._reader.execute(statement, values).fetchone()
        return row


def _instance_row(row: Sequence[Any]) -> InstanceRow:
    parent = None if row[10] is None else Parent(*row[10:14])
    values = [*row[:5], Status(row[5]), *row[6:10], parent, json.loads(row[14]), *row[15:]]
    return InstanceRow(*values)
