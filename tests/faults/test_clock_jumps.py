"""The clock of every part jumps by an hour while jobs wait for times and hold locks."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from azure.servicebus import ServiceBusMessage

from contracts.names import REJECTED_QUEUE
from tests.faults.lab import Lab, ask, lab
from tests.faults.moved_clock import NEEDS_MOVED_CLOCK, moved_clock
from tests.integration.jobs_client import look, until

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

HOUR = 3600
GIVE_UP_SECONDS = 400


@NEEDS_MOVED_CLOCK
@pytest.mark.long
async def test_the_clock_jumps_an_hour_forward_and_back(tmp_path):
    with moved_clock(tmp_path) as clock:
        async with lab() as it, asyncio.timeout(GIVE_UP_SECONDS):
            await it.doors.ended(await it.doors.submit(ask("warm"), "warm"))
            held = await locked_message(it)

            running, patient, late, scheduled = await what_waits(it)
            clock.jump_to(HOUR)
            it.model.busy_for = 0
            assert (await it.doors.ended(late))["status"] == "expired", "its time is over"
            assert (await it.doors.ended(patient))["status"] == "succeeded"
            assert (await it.doors.queue.reply(scheduled))["status"] == "succeeded"
            for job in running:
                assert (await it.doors.ended(job))["status"] == "succeeded"
            await works(it, "an hour ahead")
            await held[0].renew_message_lock(held[1])

            it.model.busy_for = 8
            set_back = ask("set back", model="busy", deadline="PT30M")
            waiting = await it.doors.submit(set_back, "set back")
            await until(it.doors.api, waiting, {"waiting_for_capacity"})
            clock.jump_to(0)
            await works(it, "set back by an hour")
            assert (await look(it.doors.api, waiting))["status"] == "waiting_for_capacity"
            await settle(it, *held)

            clock.jump_to(2 * HOUR)
            ended = await it.doors.ended(waiting)
            assert ended["status"] == "expired", "its timers were not lost"

    calls = {text: count for text, count in it.model.calls.items() if count > 1}
    replies = Counter(it.doors.replies().values())
    print(f"an hour forward and back: replies to each {dict(replies)}, asked twice {calls}")
    assert set(replies) == {1}, "one reply to each message"
    assert set(calls) <= {"patient", "late", "set back"}, "only who was told to come again did"


async def what_waits(it: Lab) -> tuple[list[str], str, str, str]:
    """Calls in flight, a job that waits for capacity, one with a deadline, a scheduled message."""
    it.model.busy_for = 8
    patient = await it.doors.submit(ask("patient", model="busy"), "patient")
    late = await it.doors.submit(ask("late", model="busy", deadline="PT20M"), "late")
    for job in (patient, late):
        await until(it.doors.api, job, {"waiting_for_capacity"})
    scheduled = uuid.uuid4().hex
    message = ServiceBusMessage(json.dumps(ask("scheduled")), message_id=scheduled)
    at = datetime.now(UTC) + timedelta(minutes=30)
    await it.doors.queue.sender.schedule_messages(message, at)
    it.model.seconds = 1.5
    running = [await it.doors.submit(ask(f"running {n}"), f"running {n}") for n in range(3)]
    while it.model.in_flight < len(running):
        await asyncio.sleep(0.05)
    it.model.seconds = 0.0
    return running, patient, late, scheduled


async def works(it: Lab, when: str) -> None:
    """Jobs over both doors go on as ever."""
    message_id = uuid.uuid4().hex
    await it.doors.send(ask(f"message {when}"), message_id)
    job = await it.doors.submit(ask(f"job {when}"), when)
    assert (await it.doors.ended(job))["status"] == "succeeded"
    assert (await it.doors.queue.reply(message_id))["status"] == "succeeded"


async def locked_message(it: Lab):
    """A message in the hands of a receiver."""
    async with it.doors.queue.client.get_queue_sender(REJECTED_QUEUE) as sender:
        await sender.send_messages(ServiceBusMessage("held"))
    receiver = it.doors.queue.client.get_queue_receiver(REJECTED_QUEUE)
    await receiver.__aenter__()
    [message] = await receiver.receive_messages(1, max_wait_time=60)
    return receiver, message


async def settle(it: Lab, receiver, message) -> None:
    """It was held all the while, whatever the broker's clock said: nobody else had it."""
    await receiver.complete_message(message)
    await receiver.close()
    async with it.doors.queue.client.get_queue_receiver(REJECTED_QUEUE) as another:
        assert await another.peek_messages() == []
