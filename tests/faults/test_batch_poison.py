"""A line that ends its worker each time it runs: it alone fails, and its batch ends."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.faults.lab import lab
from tests.faults.test_batch_kills import ended
from tests.integration.batches_lab import Batches
from tests.unit.lines_fakes import job_line, jsonl

# The SDK leaves the sockets of connections that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

GIVE_UP_SECONDS = 600
LINES = 40


@pytest.mark.long
async def test_it_is_found_and_the_others_are_answered():
    lines = [job_line(f"r{n}", flow="ask", input={"text": f"r{n}"}) for n in range(LINES)]
    lines.insert(LINES // 2, job_line("poison", flow="poison", input={"text": "x"}))
    said: list[str] = []
    async with lab(say=said.append) as it, asyncio.timeout(GIVE_UP_SECONDS):
        batches = Batches(it.doors.api)
        it.model.seconds = 0.3  # so that others are under way when the worker dies
        began = time.monotonic()
        batch_id = (await batches.begin(jsonl(*lines), "/v1/jobs"))["id"]
        batch = await ended(batches, batch_id)
        seconds = time.monotonic() - began
        out, err = await batches.results(batch)

    deaths = sum(line.startswith("host ended (exit code 9)") for line in said)
    calls = it.model.calls.total()
    print(f"{deaths} workers died in {seconds:.0f} s, {LINES} others were called {calls} times")
    assert batch["status"] == "completed"
    assert out.keys() == {f"r{n}" for n in range(LINES)}
    assert err.keys() == {"poison"}
    assert "worker died" in err["poison"]["response"]["body"]["error"]["message"]
