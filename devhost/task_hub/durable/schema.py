"""The tables, and the check that a database was written by this version."""

from __future__ import annotations

import sqlite3

from devhost.task_hub.durable.errors import StateDirectoryError

VERSION = 2
"""Raise it with every change of the tables, and say in _UPGRADES how the old ones are changed."""

APPLICATION_ID = 0x534C5548
"""Marks the file as a task hub's ("SLUH"), so that no other database is taken for one."""

_TABLES = """
CREATE TABLE boots (number INTEGER PRIMARY KEY);
CREATE TABLE instances (
    num INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    version TEXT,
    execution TEXT NOT NULL,
    status INTEGER NOT NULL,
    created INTEGER NOT NULL,
    updated INTEGER NOT NULL,
    completed INTEGER,
    scheduled INTEGER,
    parent INTEGER,
    parent_execution TEXT,
    parent_task INTEGER,
    parent_id TEXT,
    tags TEXT NOT NULL,
    trace BLOB NOT NULL,
    custom_status TEXT,
    input TEXT,
    output TEXT,
    failure BLOB,
    lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX instances_created ON instances (created, num);
CREATE INDEX instances_completed ON instances (completed, id) WHERE completed IS NOT NULL;
CREATE INDEX instances_running ON instances (num) WHERE completed IS NULL;
CREATE INDEX instances_parent ON instances (parent) WHERE parent IS NOT NULL;
CREATE TABLE history (seq INTEGER PRIMARY KEY, num INTEGER NOT NULL, events BLOB NOT NULL);
CREATE INDEX history_num ON history (num, seq);
CREATE TABLE messages (
    seq INTEGER PRIMARY KEY, num INTEGER NOT NULL, kind TEXT NOT NULL, event BLOB NOT NULL
);
CREATE INDEX messages_num ON messages (num);
CREATE TABLE activities (
    seq INTEGER PRIMARY KEY,
    num INTEGER NOT NULL,
    execution TEXT NOT NULL,
    task INTEGER NOT NULL,
    name TEXT NOT NULL,
    version TEXT,
    request BLOB NOT NULL,
    lost INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX activities_num ON activities (num);
CREATE TABLE timers (
    seq INTEGER PRIMARY KEY,
    due INTEGER NOT NULL,
    num INTEGER,
    task INTEGER,
    entity TEXT,
    event BLOB NOT NULL
);
CREATE INDEX timers_num ON timers (num) WHERE num IS NOT NULL;
CREATE TABLE entities (
    id TEXT PRIMARY KEY, state TEXT, modified INTEGER NOT NULL, section TEXT, owner INTEGER,
    lost INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE operations (
    seq INTEGER PRIMARY KEY,
    entity TEXT NOT NULL,
    event BLOB NOT NULL,
    request_id TEXT NOT NULL,
    caller INTEGER,
    execution TEXT
);
CREATE INDEX operations_entity ON operations (entity);
CREATE TABLE lock_requests (
    seq INTEGER PRIMARY KEY, section TEXT NOT NULL, owner INTEGER NOT NULL, entities TEXT NOT NULL
);
"""

_UPGRADES = {
    1: "".join(
        f"ALTER TABLE {table} ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;"
        for table in ("instances", "activities", "entities")
    ),
}
"""What makes the tables of a version those of the next."""


def prepare(connection: sqlite3.Connection, path: str) -> None:
    """Create the tables in a new database, or bring those of an older version up to date.

    Raises StateDirectoryError when another program or another version wrote the file.
    """
    application, version = _marks(connection)
    while application == APPLICATION_ID and version in _UPGRADES:
        _transact(connection, f"{_UPGRADES[version]} PRAGMA user_version = {version + 1};")
        version += 1
    if (application, version) == (APPLICATION_ID, VERSION):
        return
    if application not in {0, APPLICATION_ID} or (application == 0 and _has_tables(connection)):
        raise StateDirectoryError(f"{path} is not a task hub's database; choose another directory.")
    if application == APPLICATION_ID:
        raise StateDirectoryError(
            f"{path} has schema version {version}, this task hub writes version {VERSION}. "
            "Use the version that wrote it, or start with an empty directory."
        )
    marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION};"
    _transact(connection, _TABLES + marks)


def _transact(connection: sqlite3.Connection, script: str) -> None:
    connection.executescript(f"BEGIN IMMEDIATE; {script} COMMIT;")


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _has_tables(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
