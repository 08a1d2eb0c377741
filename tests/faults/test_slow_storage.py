"""Storage that answers late: whatever was accepted ends as it would have, only later."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from urllib.parse import urlsplit

import pytest

from devhost.stack.plan import blob_connection_string
from tests.faults.clients import Doors, Record
from tests.faults.lab import Lab, ask, lab
from tests.faults.slow_line import slow_line

pytestmark = pytest.mark.long

JOBS = 5
"""Over each door."""
GIVE_UP_SECONDS = 450


async def test_every_request_to_storage_takes_5_s_longer(monkeypatch):
    seconds = 5.0
    async with slow_line() as line:
        monkeypatch.setenv("SLUICE_STORAGE", blob_connection_string(line.port))
        async with lab(GIVE_UP_SECONDS) as it, asyncio.timeout(GIVE_UP_SECONDS):
            line.target = blob_port(it.stack.blob)
            line.seconds = seconds
            began = time.monotonic()
            jobs = [over_http(it.doors, n) for n in range(JOBS)]
            messages = [over_queue(it.doors, n) for n in range(JOBS)]
            records = await asyncio.gather(*jobs, *messages)
            say(seconds, it, time.monotonic() - began)
            line.seconds = 0.0
            check(it, records)
            assert len(it.doors.replies()) == JOBS


async def test_a_message_keeps_its_lock_though_accepting_it_outlasts_a_minute(monkeypatch):
    """The first ones take four requests, one after the other: they also make the container."""
    seconds = 20.0
    async with slow_line() as line:
        monkeypatch.setenv("SLUICE_STORAGE", blob_connection_string(line.port))
        async with lab(GIVE_UP_SECONDS) as it, asyncio.timeout(GIVE_UP_SECONDS):
            line.target = blob_port(it.stack.blob)
            line.seconds = seconds
            began = time.monotonic()
            records = await asyncio.gather(*(over_queue(it.doors, n) for n in range(JOBS)))
            say(seconds, it, time.monotonic() - began)
            line.seconds = 0.0
            check(it, records)
            assert "lock of message" not in it.stack.log("host").read_text(), "none was lost"


async def over_http(doors: Doors, n: int) -> Record:
    return await doors.ended(await doors.submit(ask(f"http {n}"), uuid.uuid4().hex))


async def over_queue(doors: Doors, n: int) -> Record:
    message_id = uuid.uuid4().hex
    await doors.send(ask(f"queue {n}"), message_id)
    return await doors.queue.reply(message_id, within=GIVE_UP_SECONDS)


def say(seconds: float, it: Lab, took: float) -> None:
    calls, replies = Counter(it.model.calls.values()), Counter(it.doors.replies().values())
    print(
        f"storage slower by {seconds:g} s: {len(it.model.calls)} jobs in {took:.0f} s,"
        f" calls of each {dict(calls)}, replies to each {dict(replies)}"
    )


def check(it: Lab, records: list[Record]) -> None:
    assert {record["status"] for record in records} == {"succeeded"}
    assert len({record["id"] for record in records}) == len(records), "one job each"
    assert set(it.model.calls.values()) == {1}, "each ran once: nothing was started again"
    assert set(it.doors.replies().values()) == {1}, "one reply to each message"


def blob_port(connection: str) -> int:
    fields = dict(field.split("=", 1) for field in connection.split(";") if field)
    port = urlsplit(fields["BlobEndpoint"]).port
    assert port is not None
    return port
