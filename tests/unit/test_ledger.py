"""What a worker uses reaches storage once: whatever the storage, the disk and the worker do."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import errno
import logging
import os
import shutil
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import DependencyUnavailable, NoCapacity
from ledger import journal as journals
from ledger import ledger as ledgers
from ledger.admission import OpenBooks
from ledger.adoption import adopt_all
from ledger.lines import record_line
from ledger.segments import Segment
from tests.unit.ledger_fakes import PRICES, LedgerContainer, begun, ledger, record, until

CALL = ModelCall("chat", Task.CHAT, {})


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No test waits a second."""
    monkeypatch.setattr(ledgers, "EVERY_SECONDS", 0.01)
    monkeypatch.setattr(ledgers, "GATHER_SECONDS", 0.001)
    monkeypatch.setattr(ledgers, "ADOPT_EVERY_SECONDS", 0.02)


def line(of):
    return record_line(of, PRICES.bill(of))


def kill(it):
    """As kill -9 does: locks and descriptors go, files stay, nothing more is written."""
    atexit.unregister(it.close)
    if it._task is not None:
        it._task.cancel()
    it.journal.close()


async def adopt(root, container, own="none"):
    await adopt_all(root, root / own, container.store, line)


async def test_a_record_is_in_storage_when_it_is_settled(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.begun(begun())
    it.meter(record())
    assert not container.blobs
    await it.settled()
    [told] = container.records()
    assert (told["request_id"], told["cost"], told["currency"]) == ("r-1", "0.01", "USD")
    assert (told["input_tokens"], told["estimated"]) == (7, False)
    await it.aclose()


async def test_nothing_is_on_disk_before_the_first_call(tmp_path):
    it = ledger(tmp_path / "journals", LedgerContainer())
    await it.settled()
    assert not (tmp_path / "journals").exists()
    it.close()


async def test_records_are_shipped_without_being_waited_for(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.meter(record())
    await until(container.records)
    await it.aclose()


async def test_many_that_wait_are_settled_together(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)

    async def one(number):
        it.meter(record(f"r-{number:03}"))
        await it.settled()
        assert f"r-{number:03}" in container.ids()

    await asyncio.gather(*(one(number) for number in range(200)))
    assert len(container.records()) == 200
    assert container.calls["append_at"] < 10
    await it.aclose()


async def test_an_append_whose_answer_was_lost_is_not_made_twice(tmp_path):
    container = LedgerContainer(losing=1)
    it = ledger(tmp_path, container)
    it.meter(record("r-1"))
    await until(lambda: container.losing == 0)
    it.meter(record("r-2"))
    await it.settled()
    assert container.ids() == ["r-1", "r-2"]
    await it.aclose()


async def test_storage_that_is_away_is_told_once_and_nothing_is_lost(tmp_path, caplog):
    container = LedgerContainer(down=True)
    it = ledger(tmp_path, container)
    with caplog.at_level(logging.INFO, "sluice.ledger"):
        it.meter(record("r-1"))
        await until(lambda: container.calls["append_at"] >= 3)
        it.meter(record("r-2"))
        container.down = False
        await it.settled()
        await until(lambda: "again" in caplog.text)
    assert container.ids() == ["r-1", "r-2"]
    assert caplog.text.count("cannot be shipped now") == 1
    assert caplog.text.count("shipped again") == 1
    await it.aclose()


async def test_who_waits_for_storage_that_is_away_goes_on_in_the_end(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(ledgers, "LONGEST_WAIT_SECONDS", 0.02)
    container = LedgerContainer(down=True)
    it = ledger(tmp_path, container)
    it.meter(record())
    await it.settled()
    await it.settled()
    assert caplog.text.count("waited for no longer") == 1
    container.down = False
    await until(container.records)
    await it.aclose()


async def test_a_full_journal_lets_no_call_be_made(tmp_path):
    container = LedgerContainer(down=True)
    it = ledger(tmp_path, container, most_bytes=1000)
    admission = OpenBooks(it)
    assert await admission.reserve(CALL, CallScope("j", "t")) is None
    for number in range(4):
        it.meter(record(f"r-{number}"))
    with pytest.raises(NoCapacity, match="written down"):
        await admission.reserve(CALL, CallScope("j", "t"))
    container.down = False
    await it.settled()
    assert await admission.reserve(CALL, CallScope("j", "t")) is None
    assert len(container.records()) == 4
    await it.aclose()


class Disk:
    """Takes a part of what is written, or nothing, while it is full."""

    def __init__(self, monkeypatch):
        self.room: int | None = None
        write = os.write

        def limited(file, data):
            if self.room is None:
                return write(file, data)
            if not self.room:
                raise OSError(errno.ENOSPC, "No space left on device")
            taken, self.room = data[: self.room], max(0, self.room - len(data))
            return write(file, taken)

        monkeypatch.setattr(os, "write", limited)


async def test_what_the_disk_does_not_take_is_kept_until_it_does(tmp_path, monkeypatch):
    container, disk = LedgerContainer(), Disk(monkeypatch)
    it = ledger(tmp_path, container)
    it.begun(begun("r-1"))
    it.meter(record("r-1"))
    it.begun(begun("r-2"))
    disk.room = 50  # of a line
    it.meter(record("r-2"))
    assert it.full
    it.begun(begun("r-3"))
    it.meter(record("r-3"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await it.settled()
    disk.room = None
    await it.settled()
    assert not it.full
    assert container.ids() == ["r-1", "r-2", "r-3"]
    await it.aclose()


async def test_a_segment_is_a_day_and_is_removed_when_it_is_shipped(tmp_path):
    container, now = LedgerContainer(), [1_893_455_990.0]  # 2029-12-31, ten seconds to go
    it = ledger(tmp_path, container, clock=lambda: now[0])
    it.meter(record("r-1"))
    now[0] += 20
    it.begun(begun("r-2"))
    it.meter(record("r-2"))
    await it.settled()
    await until(lambda: len(list((tmp_path / "w1").glob("*.jsonl"))) == 1)
    assert sorted(name for name in container.blobs if name.startswith("usage")) == [
        "usage/2029-12-31/w1-000001.jsonl",
        "usage/2030-01-01/w1-000002.jsonl",
    ]
    assert [path.name for path in (tmp_path / "w1").glob("*.notes")] == ["000002.notes"]
    await it.aclose()


@pytest.mark.parametrize("most", ["SEGMENT_BYTES", "MOST_BLOCKS"])
async def test_a_segment_is_no_longer_than_a_blob_may_be(tmp_path, monkeypatch, most):
    monkeypatch.setattr(journals, most, 1)
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    for number in range(3):
        it.meter(record(f"r-{number}"))
        await it.settled()
    assert len({name for name in container.blobs if name.startswith("usage")}) == 3
    assert len(container.ids()) == 3
    await it.aclose()


# Workers that die.


async def test_the_call_of_a_worker_that_dies_is_on_the_books_once_as_unknown(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.begun(begun("r-1"))
    it.meter(record("r-1"))
    await it.settled()
    it.begun(begun("r-2", flow="answer", request_bytes=403))
    it.begun(begun("r-3", mirrored=True))
    it.meter(record("r-4"))
    kill(it)
    await adopt(tmp_path, container)
    await adopt(tmp_path, container)
    told = {each["request_id"]: each for each in container.records()}
    assert container.ids() == ["r-1", "r-2", "r-3", "r-4"]
    unknown = told["r-2"]
    assert (unknown["outcome"], unknown["estimated"], unknown["cost"]) == ("unknown", True, "0.01")
    assert (unknown["input_tokens"], unknown["flow"], unknown["tenant"]) == (100, "answer", "acme")
    assert (told["r-3"]["mirrored"], told["r-3"]["cost"]) == (True, "0")
    assert not list(tmp_path.iterdir()), "nothing is left of it"


async def test_the_journal_of_the_living_is_left_alone(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.begun(begun("r-1"))
    await adopt(tmp_path, container)
    assert not container.records()
    it.meter(record("r-1"))
    await it.aclose()
    assert container.ids() == ["r-1"]


async def test_a_worker_that_starts_adopts_what_it_finds(tmp_path):
    container = LedgerContainer()
    dead = ledger(tmp_path, container, "w1")
    dead.begun(begun("r-1"))
    kill(dead)
    it = ledger(tmp_path, container, "w2")
    it.begin()
    await until(lambda: container.ids() == ["r-1"])
    await it.aclose()


async def test_a_line_that_was_torn_is_no_record_and_its_call_has_one(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    for number in (1, 2):
        it.begun(begun(f"r-{number}"))
        it.meter(record(f"r-{number}"))
    kill(it)
    [path] = (tmp_path / "w1").glob("*.jsonl")
    os.truncate(path, path.stat().st_size - 20)
    [notes] = (tmp_path / "w1").glob("*.notes")
    with notes.open("ab") as file:
        file.write(b'["r-3","ac')
    await adopt(tmp_path, container)
    told = {each["request_id"]: each["outcome"] for each in container.records()}
    assert told == {"r-1": "answered", "r-2": "unknown"}


async def test_a_machine_that_forgot_what_was_shipped_is_told_by_storage(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    for number in (1, 2):
        it.begun(begun(f"r-{number}"))
        it.meter(record(f"r-{number}"))
    await it.settled()
    kill(it)
    [path] = (tmp_path / "w1").glob("*.jsonl")
    os.truncate(path, path.stat().st_size // 2 + 20)
    await adopt(tmp_path, container)
    assert [each["outcome"] for each in container.records()] == ["answered", "answered"]


async def test_a_worker_that_ends_says_of_open_calls_that_nobody_knows(tmp_path):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.begun(begun("r-1"))
    it.close()
    await adopt(tmp_path, container)
    assert [each["outcome"] for each in container.records()] == ["unknown"]


async def test_a_copy_of_the_process_writes_nothing_when_it_ends(tmp_path, monkeypatch):
    container = LedgerContainer()
    it = ledger(tmp_path, container)
    it.begun(begun("r-1"))
    with monkeypatch.context() as copy:
        copy.setattr(os, "getpid", lambda: -1)
        it.close()
    it.meter(record("r-1"))
    await it.aclose()
    assert [each["outcome"] for each in container.records()] == ["answered"]


class Died(BaseException):
    """In place of the process."""


steps = st.lists(
    st.sampled_from(["begin", "end", "ship", "renew", "lose", "kill", "adopt", "die in adopt"]),
    min_size=20,
    max_size=60,
)


@settings(max_examples=100)
@given(steps=steps, chance=st.randoms(use_true_random=False))
def test_each_call_is_on_the_books_once_whatever_happens(tmp_path_factory, steps, chance):
    """Calls begin and end, segments are renewed, appends lose their answers, workers die at any
    time, and so do those that adopt their journals."""
    root = tmp_path_factory.mktemp("journals")
    asyncio.run(_whatever_happens(root, steps, chance))
    shutil.rmtree(root)


async def _whatever_happens(root, steps, chance):
    container = LedgerContainer()
    made: set[str] = set()
    answered: set[str] = set()
    under_way: list[str] = []
    worker = 0
    it = ledger(root, container, "w0")

    async def ship():
        with contextlib.suppress(DependencyUnavailable):
            await it._ship()

    for step in steps:
        match step:
            case "begin":
                request_id = f"r-{len(made):03}"
                made.add(request_id)
                under_way.append(request_id)
                it.journal.note(request_id, ledgers.note_line(begun(request_id)))
            case "end" if under_way:
                request_id = under_way.pop(chance.randrange(len(under_way)))
                answered.add(request_id)
                it.journal.record(request_id, line(record(request_id)))
            case "ship":
                await ship()
            case "renew":
                it.journal._renew()
            case "lose":
                container.losing = 1
                await ship()
                container.losing = 0
            case "kill":
                kill(it)
                under_way.clear()
                worker += 1
                it = ledger(root, container, f"w{worker}")
            case "adopt":
                await adopt(root, container, own=f"w{worker}")
            case "die in adopt":
                await die_in_adoption(root, container, f"w{worker}", chance.randrange(12))
    kill(it)
    await adopt(root, container)
    assert container.ids() == sorted(made)
    outcomes = Counter(each["outcome"] for each in container.records())
    assert outcomes["answered"] == len(answered)


async def die_in_adoption(root, container, own, after):
    """At its n-th operation on a file or on storage."""
    left = [after]

    def counted(function):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] < 0:
                raise Died
            return function(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as dying:
        for name in ("unlink", "rmdir"):
            dying.setattr(f"pathlib.Path.{name}", counted(getattr(type(root), name)))
        for name in ("open", "new", "write", "cut"):
            dying.setattr(Segment, name, counted(getattr(Segment, name)))
        dying.setattr(container, "append_at", counted(container.append_at))
        with contextlib.suppress(Died):
            await adopt(root, container, own)
