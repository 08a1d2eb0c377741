"""Every statement that changes a row, by what it means."""

from __future__ import annotations

import json
from collections.abc import Iterable

from devhost.task_hub.durable.journal import Journal
from devhost.task_hub.durable.model import (
    Activity,
    Instance,
    LockRequest,
    Message,
    Operation,
    Status,
    Timer,
)
from devhost.task_hub.durable.proto import pb
from devhost.task_hub.durable.ready import Key, Kind

_INSERT_INSTANCE = "INSERT INTO instances VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,0)"
_FORGET = [
    f"DELETE FROM {table} WHERE num = ?"  # noqa: S608  only names from this tuple
    for table in ("instances", "history", "messages", "activities", "timers")
]

_SET_LOST = {
    Kind.TURN: "UPDATE instances SET lost = ? WHERE num = ?",
    Kind.ACTIVITY: "UPDATE activities SET lost = ? WHERE seq = ?",
    Kind.ENTITY: "UPDATE entities SET lost = ? WHERE id = ?",
}


class Rows:
    """Writes rows through the journal; nothing is read here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._write = journal.write

    # Orchestrations

    def insert_instance(self, instance: Instance, encoded_input: str | None) -> None:
        parent = instance.parent
        self._write(
            _INSERT_INSTANCE,
            instance.num,
            instance.id,
            instance.name,
            instance.version,
            instance.execution,
            int(instance.status),
            instance.created,
            instance.created,
            None,
            instance.scheduled,
            None if parent is None else parent.num,
            None if parent is None else parent.execution,
            None if parent is None else parent.task,
            None if parent is None else parent.instance_id,
            json.dumps(instance.tags),
            instance.trace,
            None,
            encoded_input,
            None,
            None,
        )

    def update_instance(self, instance: Instance, now: int, custom_status: str | None) -> None:
        self._write(
            "UPDATE instances SET status = ?, updated = ?, trace = ?, custom_status = ?"
            " WHERE num = ?",
            int(instance.status),
            now,
            instance.trace,
            custom_status,
            instance.num,
        )

    def end_instance(
        self,
        num: int,
        now: int,
        status: Status,
        output: str | None,
        details: pb.TaskFailureDetails | None,
    ) -> None:
        self._write(
            "UPDATE instances SET status = ?, updated = ?, completed = ?, output = ?, failure = ?"
            " WHERE num = ?",
            int(status),
            now,
            now,
            output,
            None if details is None else details.SerializeToString(),
            num,
        )
        self._write("DELETE FROM messages WHERE num = ?", num)
        self._write("DELETE FROM timers WHERE num = ?", num)

    def renew_instance(self, instance: Instance, encoded_input: str | None) -> None:
        """A new execution of the same instance, with no history."""
        self._write(
            "UPDATE instances SET execution = ?, version = ?, input = ? WHERE num = ?",
            instance.execution,
            instance.version,
            encoded_input,
            instance.num,
        )
        self._write("DELETE FROM history WHERE num = ?", instance.num)
        self._write("DELETE FROM timers WHERE num = ?", instance.num)

    def reopen_instance(self, num: int, now: int) -> None:
        """An ended instance runs again."""
        self._write(
            "UPDATE instances SET status = ?, updated = ?, completed = NULL, output = NULL,"
            " failure = NULL, lost = 0 WHERE num = ?",
            int(Status.RUNNING),
            now,
            num,
        )

    def forget_instance(self, num: int) -> None:
        """Delete an instance and all that hangs on it."""
        for statement in _FORGET:
            self._write(statement, num)

    def append_history(self, num: int, events: bytes) -> None:
        self._write("INSERT INTO history VALUES (?, ?, ?)", self._journal.next_seq(), num, events)

    def clear_history(self, num: int) -> None:
        self._write("DELETE FROM history WHERE num = ?", num)

    def insert_message(self, num: int, message: Message) -> None:
        self._write(
            "INSERT INTO messages VALUES (?, ?, ?, ?)",
            message.seq,
            num,
            message.kind,
            message.event,
        )

    def delete_messages(self, messages: Iterable[Message]) -> None:
        for message in messages:
            self._write("DELETE FROM messages WHERE seq = ?", message.seq)

    def set_lost(self, kind: Kind, key: Key, lost: int) -> None:
        """How many workers were lost with this work."""
        self._write(_SET_LOST[kind], lost, key)

    # Activities and timers

    def insert_activity(self, activity: Activity) -> None:
        self._write(
            "INSERT INTO activities VALUES (?, ?, ?, ?, ?, ?, ?, 0)",
            activity.seq,
            activity.num,
            activity.execution,
            activity.task,
            activity.name,
            activity.version,
            activity.request,
        )

    def delete_activity(self, seq: int) -> None:
        self._write("DELETE FROM activities WHERE seq = ?", seq)

    def insert_timer(self, timer: Timer) -> None:
        self._write(
            "INSERT INTO timers VALUES (?, ?, ?, ?, ?, ?)",
            timer.seq,
            timer.due,
            timer.num,
            timer.task,
            timer.entity,
            timer.event,
        )

    def delete_timer(self, seq: int) -> None:
        self._write("DELETE FROM timers WHERE seq = ?", seq)

    # Entities

    def touch_entity(self, entity_id: str, now: int) -> None:
        """An entity exists from its first operation or lock on."""
        self._write("INSERT OR IGNORE INTO entities (id, modified) VALUES (?, ?)", entity_id, now)

    def set_entity_state(self, entity_id: str, state: str | None, now: int) -> None:
        self._write(
            "UPDATE entities SET state = ?, modified = ? WHERE id = ?", state, now, entity_id
        )

    def lock_entity(self, entity_id: str, section: str | None, owner: int | None) -> None:
        """With None and None: unlock it."""
        self._write(
            "UPDATE entities SET section = ?, owner = ? WHERE id = ?", section, owner, entity_id
        )

    def delete_entity(self, entity_id: str) -> None:
        self._write("DELETE FROM entities WHERE id = ?", entity_id)

    def insert_operation(self, entity_id: str, operation: Operation) -> None:
        self._write(
            "INSERT INTO operations VALUES (?, ?, ?, ?, ?, ?)",
            operation.seq,
            entity_id,
            operation.event,
            operation.request_id,
            operation.caller,
            operation.execution,
        )

    def delete_operation(self, seq: int) -> None:
        self._write("DELETE FROM operations WHERE seq = ?", seq)

    def insert_lock_request(self, request: LockRequest) -> None:
        self._write(
            "INSERT INTO lock_requests VALUES (?, ?, ?, ?)",
            request.seq,
            request.section,
            request.owner,
            json.dumps(request.entities),
        )

    def delete_lock_request(self, seq: int) -> None:
        self._write("DELETE FROM lock_requests WHERE seq = ?", seq)
