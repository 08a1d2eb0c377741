"""Group commit: what waits is written together; what cannot be written is tried again."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devhost.task_hub.durable.committer import Committer
from devhost.task_hub.durable.journal import Changes, Journal


class Disk:
    """Stands for the database: it can be held up, and it can refuse."""

    def __init__(self) -> None:
        self.written: list[list[int]] = []
        self.refusals: list[Exception] = []
        self.free = threading.Event()
        self.free.set()
        self.reached = threading.Event()
        """Set once a commit has come to the disk."""

    def apply(self, changes: Changes) -> None:
        self.reached.set()
        self.free.wait()
        if self.refusals:
            raise self.refusals.pop(0)
        self.written.append([values[0] for _, values in changes.statements])


@asynccontextmanager
async def committing(disk: Disk) -> AsyncIterator[tuple[Journal, Committer]]:
    journal = Journal(boot=1)
    committer = Committer(disk, journal, lambda: None)
    try:
        yield journal, committer
    finally:
        disk.free.set()
        await committer.close()


async def test_what_changes_while_a_commit_is_written_goes_into_the_next_one():
    disk = Disk()
    async with committing(disk) as (journal, committer):
        disk.free.clear()
        journal.write("", 1)
        assert await asyncio.to_thread(disk.reached.wait, 60)
        for number in (2, 3, 4):
            journal.write("", number)
        disk.free.set()
        await committer.settled()
    assert disk.written == [[1], [2, 3, 4]]


async def test_all_changes_of_one_step_are_one_transaction():
    disk = Disk()
    async with committing(disk) as (journal, committer):
        journal.write("", 1)
        journal.write("", 2)
        await committer.settled()
    assert disk.written == [[1, 2]]


async def test_effects_happen_after_the_commit_and_before_it_is_told():
    disk = Disk()
    async with committing(disk) as (journal, committer):
        seen = []
        journal.write("", 1)
        journal.after(lambda: seen.append(list(disk.written)))
        assert seen == []
        await committer.settled()
        assert seen == [[[1]]]


async def test_nobody_waits_when_nothing_is_to_be_written():
    async with committing(Disk()) as (_, committer):
        await asyncio.wait_for(committer.settled(), 60)


async def test_a_commit_that_cannot_be_written_is_tried_again_and_the_trouble_is_told():
    disk = Disk()
    disk.refusals = [sqlite3.OperationalError("database or disk is full")] * 2
    async with committing(disk) as (journal, committer):
        journal.write("", 1)
        waiting = asyncio.create_task(committer.settled())
        while committer.trouble is None:
            await asyncio.sleep(0.01)
        assert committer.trouble == "database or disk is full"
        assert not waiting.done()
        await waiting
        assert committer.trouble is None
    assert disk.written == [[1]]


async def test_who_only_looks_is_not_kept_waiting_for_a_disk_that_refuses():
    disk = Disk()
    async with committing(disk) as (journal, committer):
        disk.free.clear()
        disk.refusals = [sqlite3.OperationalError("database or disk is full")] * 2
        journal.write("", 1)
        looking = asyncio.create_task(committer.settled_or_stuck())
        settling = asyncio.create_task(committer.settled())
        await asyncio.sleep(0.05)
        assert not looking.done(), "as long as the commit may still succeed"
        disk.free.set()
        await looking
        assert committer.trouble is not None
        assert not settling.done()
        await committer.settled_or_stuck()
        await settling
        await committer.settled_or_stuck()
    assert disk.written == [[1]]


async def test_an_error_of_another_kind_ends_the_hub():
    disk = Disk()
    disk.refusals = [sqlite3.IntegrityError("a fault of ours")]
    async with committing(disk) as (journal, committer):
        journal.write("", 1)
        with pytest.raises(sqlite3.IntegrityError):
            await committer.failed


async def test_close_writes_what_is_left():
    disk = Disk()
    async with committing(disk) as (journal, _):
        journal.write("", 1)
    assert disk.written == [[1]]
