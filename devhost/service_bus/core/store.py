"""Everything the broker must not forget, in one SQLite file.

All writes between two commits form one transaction, so one disk flush serves every client that
was heard in the meantime (group commit). The owner commits before it lets any byte out that
tells of the change: what a client was told survives `kill -9` and, because the flush reaches
the disk (`synchronous=FULL`), a power cut.

The file is locked for as long as it is open: a second broker on the same state is refused.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from devhost.service_bus.core.messages import Message, Millis, State
from devhost.service_bus.wire.sections import Envelope

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE messages (
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, sequence INTEGER NOT NULL,
    state INTEGER NOT NULL, enqueued_at INTEGER NOT NULL, due_at INTEGER, expires_at INTEGER,
    ttl INTEGER NOT NULL, delivery_count INTEGER NOT NULL, lock BLOB, locked_until INTEGER,
    session_id TEXT, message_id TEXT, size INTEGER NOT NULL, enqueued_sequence INTEGER,
    dead_letter_source TEXT
);
CREATE TABLE envelopes (
    id INTEGER PRIMARY KEY, durable INTEGER NOT NULL, priority INTEGER,
    annotation_count INTEGER NOT NULL, annotations BLOB NOT NULL, bare BLOB NOT NULL
);
CREATE TABLE sessions (
    queue TEXT NOT NULL, id TEXT NOT NULL, state BLOB, updated_at INTEGER NOT NULL,
    lock BLOB, locked_until INTEGER, PRIMARY KEY (queue, id)
) WITHOUT ROWID;
CREATE TABLE seen (
    entity TEXT NOT NULL, message_id TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (entity, message_id)
) WITHOUT ROWID;
CREATE TABLE sequences (entity TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
"""
_COLUMNS = (
    "id, queue, sequence, state, enqueued_at, due_at, expires_at, ttl, delivery_count, lock,"
    " locked_until, session_id, message_id, size, enqueued_sequence, dead_letter_source"
)
_INSERT_MESSAGE = f"INSERT INTO messages ({_COLUMNS}) VALUES ({', '.join('?' * 16)})"  # noqa: S608
_UPDATE_MESSAGE = (
    "UPDATE messages SET queue = ?, sequence = ?, state = ?, enqueued_at = ?, due_at = ?,"
    " expires_at = ?, delivery_count = ?, lock = ?, locked_until = ?, dead_letter_source = ?"
    " WHERE id = ?"
)


class StateInUse(Exception):
    """Another broker has the state open."""


class StateUnreadable(Exception):
    """The file is not the state of a broker of this version."""


@dataclass(slots=True)
class SessionRow:
    queue: str
    id: str
    state: bytes | None
    updated_at: Millis
    lock: UUID | None
    locked_until: Millis | None


class Store:
    """The state of one broker. Not thread-safe: one owner, one thread."""

    def __init__(self, path: Path | None) -> None:
        """Opens or creates the file; None keeps everything in memory, for tests.

        Raises StateInUse or StateUnreadable.
        """
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=0)
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise StateInUse(f"{path} is in use by another broker.") from None
            raise StateUnreadable(f"{path} is not the state of a broker: {error}.") from error
        self._begun = False
        self._sequences: dict[str, int] = {}

    def _prepare(self) -> None:
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            script = f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            self._db.executescript(script)
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"its version is {version}, not {SCHEMA_VERSION}")

    # Reading it all, once at start

    def messages(self) -> Iterator[Message]:
        """Every message, in the order of its sequence number."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM messages ORDER BY sequence")  # noqa: S608
        for row in rows:
            message = Message(*row)
            message.state = State(message.state)
            message.lock = _uuid(row[9])
            yield message

    def sessions(self) -> Iterator[SessionRow]:
        rows = self._db.execute(
            "SELECT queue, id, state, updated_at, lock, locked_until FROM sessions"
        )
        for queue, name, state, updated_at, lock, locked_until in rows:
            yield SessionRow(queue, name, state, updated_at, _uuid(lock), locked_until)

    def seen(self) -> Iterator[tuple[str, str, Millis]]:
        """Every remembered (entity, message id, time), oldest first."""
        yield from self._db.execute("SELECT entity, message_id, at FROM seen ORDER BY at")

    def sequences(self) -> dict[str, int]:
        """The last sequence number given by each entity."""
        return dict(self._db.execute("SELECT entity, last FROM sequences").fetchall())

    # One transaction

    def insert(self, message: Message, envelope: Envelope) -> None:
        self._begin()
        self._db.execute(
            _INSERT_MESSAGE,
            (
                message.id, message.queue, message.sequence, message.state, message.enqueued_at,
                message.due_at, message.expires_at, message.ttl, message.delivery_count,
                _bytes(message.lock), message.locked_until, message.session_id,
                message.message_id, message.size, message.enqueued_sequence,
                message.dead_letter_source,
            ),
        )  # fmt: skip
        self._db.execute(
            "INSERT INTO envelopes (id, durable, priority, annotation_count, annotations, bare)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (
                message.id, envelope.durable, envelope.priority, envelope.annotation_count,
                envelope.annotations, envelope.bare,
            ),
        )  # fmt: skip

    def update(self, message: Message) -> None:
        self._begin()
        self._db.execute(
            _UPDATE_MESSAGE,
            (
                message.queue, message.sequence, message.state, message.enqueued_at,
                message.due_at, message.expires_at, message.delivery_count,
                _bytes(message.lock), message.locked_until, message.dead_letter_source,
                message.id,
            ),
        )  # fmt: skip

    def delete(self, message: Message) -> None:
        self._begin()
        self._db.execute("DELETE FROM messages WHERE id = ?", (message.id,))
        self._db.execute("DELETE FROM envelopes WHERE id = ?", (message.id,))

    def envelope(self, message: Message) -> Envelope:
        """The bytes of a message that is in the store."""
        durable, priority, count, annotations, bare = self._db.execute(
            "SELECT durable, priority, annotation_count, annotations, bare FROM envelopes"
            " WHERE id = ?",
            (message.id,),
        ).fetchone()
        return Envelope(
            bare=bare,
            annotations=annotations,
            annotation_count=count,
            durable=bool(durable),
            priority=priority,
            ttl=message.ttl,
            scheduled_at=message.due_at,
            message_id=message.message_id,
            session_id=message.session_id,
            size=message.size,
        )

    def replace_bare(self, message: Message, bare: bytes) -> None:
        self._begin()
        self._db.execute("UPDATE envelopes SET bare = ? WHERE id = ?", (bare, message.id))

    def put_session(self, row: SessionRow) -> None:
        self._begin()
        self._db.execute(
            "INSERT OR REPLACE INTO sessions (queue, id, state, updated_at, lock, locked_until)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (row.queue, row.id, row.state, row.updated_at, _bytes(row.lock), row.locked_until),
        )

    def drop_session(self, queue: str, session_id: str) -> None:
        self._begin()
        self._db.execute("DELETE FROM sessions WHERE queue = ? AND id = ?", (queue, session_id))

    def remember(self, entity: str, message_id: str, at: Millis) -> None:
        self._begin()
        self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?)", (entity, message_id, at))

    def forget(self, entity: str, message_ids: Iterable[str]) -> None:
        self._begin()
        self._db.executemany(
            "DELETE FROM seen WHERE entity = ? AND message_id = ?",
            ((entity, message_id) for message_id in message_ids),
        )

    def set_sequence(self, entity: str, last: int) -> None:
        self._begin()
        self._sequences[entity] = last

    def commit(self) -> None:
        """Makes everything since the last commit durable; raises sqlite3.Error when it is not."""
        if not self._begun:
            return
        self._db.executemany(
            "INSERT OR REPLACE INTO sequences VALUES (?, ?)", self._sequences.items()
        )
        self._db.execute("COMMIT")
        self._begun = False
        self._sequences.clear()

    def rollback(self) -> None:
        """Drops everything since the last commit."""
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
        self._begun = False
        self._sequences.clear()

    def close(self) -> None:
        self._db.close()

    def _begin(self) -> None:
        if not self._begun:
            self._db.execute("BEGIN")
            self._begun = True


def _bytes(lock: UUID | None) -> bytes | None:
    return lock.bytes if lock else None


def _uuid(stored: bytes | None) -> UUID | None:
    return UUID(bytes=stored) if stored else None
