"""A disk that is full: nothing is acknowledged that could not be written, nothing accepted lost.

Azurite stands for a storage account, which refuses writes for reasons of its own; a full disk is
how it can be made to.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
import uuid
from collections import Counter
from contextlib import AbstractContextManager

import aiohttp
import pytest
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.exceptions import ServiceBusError

from contracts.names import REQUESTS_QUEUE
from tests.faults.clients import Job
from tests.faults.full_disk import NEEDS_PRLIMIT, filled, full_for, small_disk
from tests.faults.lab import Lab, ask, lab

# The SDK leaves the sockets of connections that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

JOBS = 4
"""Over each door: accepted before the disk is full, and sent again and again while it is."""
FULL_SECONDS = 3.0
GIVE_UP_SECONDS = 600
OVER_HTTP = "POST /v1/jobs"
OVER_QUEUE = "a message"


@NEEDS_PRLIMIT
@pytest.mark.parametrize(
    ("parts", "refusing"),
    [
        (("azurite", "hub", "service_bus"), {OVER_HTTP, OVER_QUEUE}),
        pytest.param(("azurite",), {OVER_HTTP}, marks=pytest.mark.long),
        pytest.param(("hub",), {OVER_HTTP}, marks=pytest.mark.long),
        pytest.param(("service_bus",), {OVER_QUEUE}, marks=pytest.mark.long),
    ],
    ids=["all", "azurite", "hub", "service_bus"],
)
async def test_what_a_part_cannot_write_is_refused_and_what_was_accepted_ends(parts, refusing):
    async with lab() as it, asyncio.timeout(GIVE_UP_SECONDS):
        full = full_for(it.stack.pids[part] for part in parts)
        assert await through(it, full) == refusing, "the doors that refuse meanwhile"


@pytest.mark.long
@pytest.mark.parametrize("killed", [(), ("host", "hub", "service_bus")], ids=["none", "three"])
async def test_a_disk_that_is_full_in_truth_though_parts_die_on_it(killed, tmp_path):
    with small_disk(tmp_path) as disk:
        async with lab(state=disk / "state") as it, asyncio.timeout(GIVE_UP_SECONDS):
            refusing = await through(it, filled(disk), killed)
            assert refusing == {OVER_HTTP, OVER_QUEUE}


async def through(
    it: Lab, full: AbstractContextManager[None], killed: tuple[str, ...] = ()
) -> set[str]:
    """Jobs before, while and after the disk is full; which doors refused all that came while."""
    doors = it.doors
    await doors.ended(await doors.submit(ask("warm"), "warm"))
    it.model.seconds = 1.0
    ids = [await doors.submit(ask(f"before {n}"), f"before {n}") for n in range(JOBS)]
    messages = [uuid.uuid4().hex for _ in range(2 * JOBS)]
    before, meanwhile = messages[:JOBS], messages[JOBS:]
    for message_id in before:
        await doors.send(ask(f"message {message_id}"), message_id)

    answers: Counter[str] = Counter()
    until = time.monotonic() + FULL_SECONDS
    with full:
        for part in killed:
            os.kill(it.stack.pids[part], signal.SIGKILL)
        late = [over_http(it, ask(f"while {n}"), f"while {n}", until, answers) for n in range(JOBS)]
        sent = [over_queue(it, ask(f"message {each}"), each, until, answers) for each in meanwhile]
        await asyncio.gather(*late, *sent)
    freed = time.monotonic()
    ids += await asyncio.gather(
        *(doors.submit(ask(f"while {n}"), f"while {n}") for n in range(JOBS))
    )
    await asyncio.gather(*(doors.send(ask(f"message {each}"), each) for each in meanwhile))

    records = await asyncio.gather(
        *(doors.ended(job_id) for job_id in ids),
        *(doors.queue.reply(each, GIVE_UP_SECONDS) for each in messages),
    )
    replies = doors.replies()
    print(
        f"full for {FULL_SECONDS:g} s: {dict(answers)}; all {len(records)} jobs had ended"
        f" {time.monotonic() - freed:.0f} s after there was space, replies to each"
        f" {dict(Counter(replies.values()))}"
    )
    assert {record["status"] for record in records} == {"succeeded"}
    assert len({record["id"] for record in records}) == len(records), "one job each"
    assert set(replies) == set(messages)
    assert set(replies.values()) == {1}, "one reply to each message"
    return {door for door in (OVER_HTTP, OVER_QUEUE) if not answers[f"{door} accepted"]}


async def over_http(it: Lab, job: Job, key: str, until: float, answers: Counter[str]) -> None:
    """Try until the time is over. A refusal is a 503 that says why, or no answer at all."""
    while time.monotonic() < until:
        try:
            timeout = aiohttp.ClientTimeout(total=max(until - time.monotonic(), 0.1))
            headers = {"Idempotency-Key": key}
            async with it.doors.api.post(
                "/v1/jobs", json=job, headers=headers, timeout=timeout
            ) as response:
                answer = await response.json()
                if response.status == 202:
                    answers[f"{OVER_HTTP} accepted"] += 1
                    return
                assert response.status == 503, answer
                assert "try again" in answer["detail"]
                answers[f"{OVER_HTTP} 503"] += 1
        except TimeoutError:
            answers[f"{OVER_HTTP} unanswered"] += 1
        except aiohttp.ClientError:
            answers[f"{OVER_HTTP} not reached"] += 1
        await asyncio.sleep(0.3)


async def over_queue(
    it: Lab, job: Job, message_id: str, until: float, answers: Counter[str]
) -> None:
    """Try until the time is over, with a client that retries nothing."""
    while time.monotonic() < until:
        try:
            async with (
                ServiceBusClient.from_connection_string(
                    it.stack.service_bus, retry_total=0
                ) as client,
                client.get_queue_sender(REQUESTS_QUEUE) as sender,
            ):
                await sender.send_messages(
                    ServiceBusMessage(json.dumps(job), message_id=message_id)
                )
                answers[f"{OVER_QUEUE} accepted"] += 1
                return
        except (ServiceBusError, ValueError, OSError) as error:
            answers[f"{OVER_QUEUE} {type(error).__name__}"] += 1
        await asyncio.sleep(0.3)
