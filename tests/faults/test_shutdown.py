"""SIGTERM to the whole stack under load: it ends in time, leaves nothing, and goes on later."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from devhost.stack.plan import PARTS as ALL_PARTS
from devhost.stack.plan import Options
from tests.faults.clients import Doors, doors
from tests.faults.lab import PARTS as LAB_PARTS
from tests.faults.lab import ask, model_of_the_app
from tests.faults.leftovers import clean_stack, listening, marked, nothing_is_left

ROOT = Path(__file__).parents[2]

# The SDK leaves the sockets of connections that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MOST_SECONDS = 10
"""From the signal to the end, as docs/reliability.md promises."""
START_SECONDS = 5
"""Longer than an idle machine takes to start the stack: what is more tells how busy it is."""
PATIENCE = 600


class Load:
    """Jobs over both doors, sent with keys of their own until each is accepted."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self.accepted: dict[str, str] = {}
        """Job id by key, of those over HTTP."""
        self.sent: set[str] = set()
        """Message ids that the queue has."""
        self.replies: set[tuple[str, int]] = set()
        """Correlation id and number of each reply that came."""

    async def send(self, clients: Doors, pause: float) -> None:
        """Send what is not accepted yet, one after the other, as long as it goes."""
        for n in range(self.jobs):
            key = f"job {n}"
            if n % 2 and key not in self.sent and await clients.try_send(ask(key), key):
                self.sent.add(key)
            if not n % 2 and key not in self.accepted:
                job_id = await clients.try_submit(ask(key), key)
                if job_id is not None:
                    self.accepted[key] = job_id
            await asyncio.sleep(pause)

    def note_replies(self, clients: Doors) -> None:
        self.replies |= {(str(m.correlation_id), m.sequence_number) for m in clients.queue.messages}


@pytest.mark.parametrize(
    ("jobs", "parts"),
    [(40, LAB_PARTS), pytest.param(400, ALL_PARTS, marks=pytest.mark.long)],
    ids=["40 jobs", "400 jobs, all parts"],
)
async def test_it_drains_ends_in_time_and_goes_on_where_it_was(jobs, parts, tmp_path):
    load = Load(jobs)
    state = tmp_path / "state"
    async with model_of_the_app(tmp_path) as model, asyncio.timeout(PATIENCE):
        with marked() as mark:
            began = time.monotonic()
            stack = await started(state, parts)
            busy = max(1.0, (time.monotonic() - began) / START_SECONDS)
            facts = json.loads((state / "stack.json").read_text())
            async with doors(facts["http"], facts["api_key"], facts["service_bus"], 5) as clients:
                await clients.ended(await clients.submit(ask("warm"), "warm"))
                model.seconds = 60.0  # some calls outlast the grace of the host
                sending = asyncio.create_task(load.send(clients, pause=0.05))
                while model.in_flight < 5:
                    await asyncio.sleep(0.01)
                model.seconds = 0.5
                while len(load.accepted) + len(load.sent) < jobs / 2:
                    await asyncio.sleep(0.01)
                ports, in_flight = listening(mark), model.in_flight
                seconds = await ended(stack)
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
                load.note_replies(clients)
            await nothing_is_left(mark, ports)
        before = len(load.accepted) + len(load.sent)

        async with (
            clean_stack(Options(parts=frozenset(parts)), state=state) as again,
            doors(again.http, again.api_key, again.service_bus) as clients,
        ):
            while len(load.accepted) + len(load.sent) < jobs:
                await load.send(clients, pause=0.0)
            records = [await clients.ended(job_id) for job_id in load.accepted.values()]
            while {sent for sent, _ in load.replies} < load.sent:
                load.note_replies(clients)
                await asyncio.sleep(0.1)

    replies = Counter(correlation_id for correlation_id, _ in load.replies)
    print(
        f"SIGTERM with {in_flight} calls in flight and {before} of {jobs} jobs accepted: ended"
        f" after {seconds:.1f} s, on a machine {busy:.1f} times as slow as an idle one;"
        f" then {dict(Counter(r['status'] for r in records))} over HTTP,"
        f" replies to each message {dict(Counter(replies.values()))},"
        f" calls for each job {dict(Counter(model.calls.values()))}"
    )
    assert seconds < MOST_SECONDS * busy
    assert {record["status"] for record in records} == {"succeeded"}
    assert len(set(load.accepted.values())) == len(records) == (jobs + 1) // 2, "one job each"
    assert set(replies) == load.sent
    assert set(replies.values()) == {1}, "one reply to each message"


async def started(state: Path, parts: Iterable[str]) -> asyncio.subprocess.Process:
    """`./dev start` without the set-up, once it is ready."""
    command = [sys.executable, "-m", "devhost.stack", "--state", str(state), "--port", "0"]
    command += ["--only", ",".join(parts)]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    while not (line := await process.stdout.readline()).startswith(b"Ready"):
        assert line, "it ended before it was ready"
    return process


async def ended(stack: asyncio.subprocess.Process) -> float:
    """Seconds from SIGTERM to the end, in order."""
    began = time.monotonic()
    stack.send_signal(signal.SIGTERM)
    with suppress(ProcessLookupError):
        await stack.communicate()
    seconds = time.monotonic() - began
    assert stack.returncode == 0
    return seconds
