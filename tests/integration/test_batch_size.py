"""Batches of any size in the same memory, and with the same history."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
import pytest

from devhost.inference.simulated import Behaviour, Constant
from tests.integration.batches_lab import ENDED, Lab, Object
from tests.integration.batches_lab import lab as running_lab

MOST_MB = 600
MOST_GROWTH = 0.10
MOST_HISTORY_BYTES = 1_000_000
CONTENT = "x" * 1850
ANSWER_TOKENS = 410
"""An answer of about 2 KB, as the line that it is to."""
MB = 1e6
HISTORY = "/runtime/webhooks/durabletask/instances/{}?showHistory=true&showHistoryOutput=true"


@dataclass
class Memory:
    """Of the host's process, looked at a few times a second."""

    peak_mb: float = 0.0

    async def watch(self, pid: int) -> None:
        process = psutil.Process(pid)
        while True:
            self.peak_mb = max(self.peak_mb, process.memory_info().rss / MB)
            await asyncio.sleep(0.2)


@asynccontextmanager
async def watched(pid: int) -> AsyncIterator[Memory]:
    memory = Memory()
    watching = asyncio.create_task(memory.watch(pid))
    try:
        yield memory
    finally:
        watching.cancel()


@dataclass(frozen=True, slots=True)
class Carried:
    lines: int
    in_mb: float
    out_mb: float
    peak_mb: float
    upload_seconds: float
    seconds: float
    download_seconds: float
    history_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.lines:,} lines: {self.in_mb:.0f} MB in {self.upload_seconds:.1f} s,"
            f" {self.lines / self.seconds:.0f} lines/s for {self.seconds:.0f} s,"
            f" {self.out_mb:.0f} MB out {self.download_seconds:.1f} s;"
            f" host {self.peak_mb:.0f} MB at most, history {self.history_bytes:,} bytes at most"
        )


@pytest.mark.long
async def test_memory_and_history_do_not_grow_with_a_batch(tmp_path):
    async with running_lab(tmp_path) as it:
        it.model.set(Behaviour(latency=Constant(ms=5), completion_tokens=ANSWER_TOKENS))
        await carried(it, tmp_path / "warm.jsonl", 2000)
        small = await carried(it, tmp_path / "small.jsonl", 10_000)
        print(f"\n{small}")
        large = await carried(it, tmp_path / "large.jsonl", 100_000)
        print(large)
    assert large.in_mb > 190
    assert large.out_mb > 190
    assert large.peak_mb < MOST_MB
    assert large.peak_mb < small.peak_mb * (1 + MOST_GROWTH)
    assert large.history_bytes < MOST_HISTORY_BYTES


async def carried(it: Lab, file: Path, lines: int) -> Carried:
    """Upload, run, download."""
    write(file, lines)
    async with watched(it.stack.pids["host"]) as memory:
        began = time.monotonic()
        with file.open("rb") as data:
            form = aiohttp.FormData({"purpose": "batch"})
            form.add_field("file", data, filename=file.name)
            kept = await it.batches.call("POST", "/v1/files", data=form)
        uploaded = time.monotonic()
        batch = await ended(it, (await it.batches.create(kept["id"]))["id"])
        completed = time.monotonic()
        counts = {"total": lines, "completed": lines, "failed": 0}
        assert (batch["status"], batch["request_counts"]) == ("completed", counts)
        out_bytes = await downloaded(it, batch, lines)
    return Carried(
        lines,
        kept["bytes"] / MB,
        out_bytes / MB,
        memory.peak_mb,
        uploaded - began,
        completed - uploaded,
        time.monotonic() - completed,
        await history_bytes(it, batch["id"]),
    )


def write(file: Path, lines: int) -> None:
    body = {"model": "chat", "messages": [{"role": "user", "content": CONTENT}]}
    with file.open("w") as written:
        for n in range(lines):
            line = {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions"}
            written.write(json.dumps(line | {"body": body}) + "\n")


async def ended(it: Lab, batch_id: str) -> Object:
    while (batch := await it.batches.get(batch_id))["status"] not in ENDED:
        await asyncio.sleep(0.5)
    return batch


async def downloaded(it: Lab, batch: Object, lines: int) -> int:
    """Bytes of the output file, in which each line is once."""
    seen = set()
    size = 0
    async with it.batches.api.get(f"/v1/files/{batch['output_file_id']}/content") as response:
        async for line in response.content:
            size += len(line)
            seen.add(json.loads(line)["custom_id"])
    assert len(seen) == lines
    return size


async def history_bytes(it: Lab, batch_id: str) -> int:
    """Of the largest among the batch's orchestrations."""
    sizes = []
    for instance in [batch_id, *(f"{batch_id}-lane-{lane}" for lane in range(8))]:
        async with it.batches.api.get(HISTORY.format(instance)) as response:
            if response.status in (200, 202):
                sizes.append(len(await response.read()))
    return max(sizes)
