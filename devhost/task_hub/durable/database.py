"""The SQLite file: opened for one hub, written by one thread, read by another."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from devhost.task_hub.durable import schema
from devhost.task_hub.durable.errors import StateDirectoryError
from devhost.task_hub.durable.journal import Changes
from devhost.task_hub.durable.settings import Synchronous

DATABASE = "hub.db"
LOCK = "hub.lock"


class Database:
    """The file of one hub. WAL, so that readers see the last commit while the next is written.

    A commit is in the operating system's hands when `apply` returns, so the end of a process
    loses nothing of it. With synchronous "full" it is on the disk too, and a power cut loses
    nothing either; with "normal" a power cut may lose the last commits, never their order.
    """

    def __init__(self, directory: Path, synchronous: Synchronous = "normal") -> None:
        """Raises StateDirectoryError when the directory cannot be used; then holds nothing."""
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / DATABASE
        with ExitStack() as opened:
            opened.enter_context(closing(_lock(directory / LOCK)))
            try:
                self._writer = opened.enter_context(closing(_connect(path)))
                self._writer.execute("PRAGMA journal_mode = WAL")
                self._writer.execute(f"PRAGMA synchronous = {synchronous}")
                schema.prepare(self._writer, str(path))
                self.reader = opened.enter_context(closing(_connect(path)))
                self.reader.execute("PRAGMA query_only = ON")
            except sqlite3.DatabaseError as error:
                raise StateDirectoryError(f"{path} cannot be read: {error}") from error
            self._opened = opened.pop_all()

    def boot(self) -> int:
        """The number of this run of the hub, one more than the last."""
        cursor = self._writer.execute(
            "INSERT INTO boots SELECT coalesce(max(number), 0) + 1 FROM boots RETURNING number"
        )
        (number,) = cursor.fetchone()
        self._writer.execute("DELETE FROM boots WHERE number < ?", (number,))
        return int(number)

    def apply(self, changes: Changes) -> None:
        """Write these changes in one transaction. Raises sqlite3.Error, and then wrote nothing."""
        if not changes.statements:
            return
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            for statement, run in groupby(changes.statements, itemgetter(0)):
                self._writer.executemany(statement, map(itemgetter(1), run))
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._opened.close()


def _connect(path: Path) -> sqlite3.Connection:
    # The writer is used by the hub's writing thread only, after it was opened by another.
    return sqlite3.connect(path, isolation_level=None, check_same_thread=False)


def _lock(path: Path) -> sqlite3.Connection:
    """Hold `path` locked while the process lives: SQLite's own locks work on every system."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise StateDirectoryError(f"{path.parent} is in use by another task hub.") from error
        raise StateDirectoryError(f"{path} cannot be locked: {error}") from error
    return connection
