"""The database file: whose it is, which version wrote it, and transactions that are whole."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from devhost.task_hub.durable import schema
from devhost.task_hub.durable.database import DATABASE, LOCK, Database
from devhost.task_hub.durable.errors import StateDirectoryError
from devhost.task_hub.durable.journal import Changes


def boots(*numbers: int) -> Changes:
    return Changes([("INSERT INTO boots VALUES (?)", (number,)) for number in numbers])


def known_boots(database: Database) -> list[int]:
    return [n for (n,) in database.reader.execute("SELECT number FROM boots ORDER BY 1")]


def test_each_run_of_the_hub_has_a_number_of_its_own(tmp_path):
    numbers = []
    for _ in range(3):
        with closing(Database(tmp_path)) as database:
            numbers.append(database.boot())
    assert numbers == [1, 2, 3]


def test_changes_are_written_as_a_whole_or_not_at_all(tmp_path):
    with closing(Database(tmp_path)) as database:
        with pytest.raises(sqlite3.IntegrityError):
            database.apply(boots(1, 2, 1))
        assert known_boots(database) == []
        database.apply(boots(1, 2))
        assert known_boots(database) == [1, 2]


def test_a_second_hub_is_told_that_the_directory_is_in_use(tmp_path):
    in_use = pytest.raises(StateDirectoryError, match="in use by another task hub")
    with closing(Database(tmp_path)), in_use:
        Database(tmp_path)
    Database(tmp_path).close()


def test_a_directory_that_cannot_be_written_is_not_said_to_be_in_use(tmp_path, monkeypatch):
    connect = sqlite3.connect

    def full(path, **options):
        connection = connect(path, **options)
        connection.execute("PRAGMA query_only = ON")  # as a write fails on a full disk
        return connection

    (tmp_path / LOCK).touch()
    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(StateDirectoryError, match=f"{LOCK} cannot be locked: "):
        Database(tmp_path)


@pytest.mark.parametrize("version", [0, schema.VERSION + 1])
def test_another_schema_version_is_refused_with_both_numbers(tmp_path, version):
    Database(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    expected = f"has schema version {version}, this task hub writes version {schema.VERSION}"
    with pytest.raises(StateDirectoryError, match=expected):
        Database(tmp_path)


def test_the_database_of_another_program_is_left_alone(tmp_path):
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
        connection.commit()
    with pytest.raises(StateDirectoryError, match="not a task hub's database"):
        Database(tmp_path)
    with closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"not a database" * 1000)
    with pytest.raises(StateDirectoryError, match="cannot be read"):
        Database(tmp_path)


def test_a_directory_can_be_used_again_after_a_refusal(tmp_path):
    (tmp_path / DATABASE).write_bytes(b"not a database" * 1000)
    with pytest.raises(StateDirectoryError):
        Database(tmp_path)
    (tmp_path / DATABASE).unlink()
    Database(tmp_path).close()
