"""A bare asyncio worker: a queue and tasks in one process. Nothing of it survives; the limit.

`python -m tests.bench.peers.bare_jobs --model URL` prints metrics by case, as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid

import aiohttp
import uvloop

from tests.bench.peers.load import TEXT, Ending, Metrics, Worker, measure, own_cpu
from tests.bench.peers.model import Model, model

WORKERS = 64
"""As many as the app's activities, in host.json."""


class BareWorker:
    """Keeps inputs and results in memory."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._inputs: dict[str, str] = {}
        self._results: dict[str, str] = {}
        self._ends: dict[str, asyncio.Future[float]] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()

    async def work(self) -> None:
        while True:
            job_id = await self._queue.get()
            try:
                self._results[job_id] = await self._model.ask(self._inputs[job_id])
            except aiohttp.ClientError as error:
                self._ends[job_id].set_exception(error)
            else:
                self._ends[job_id].set_result(time.time())

    async def start(self) -> Ending:
        job_id = uuid.uuid4().hex
        self._inputs[job_id] = TEXT
        self._ends[job_id] = asyncio.get_running_loop().create_future()
        await self._queue.put(job_id)
        return lambda: self._ends[job_id]

    async def call(self) -> float:
        ending = await self.start()
        return await ending()


async def run(url: str) -> dict[str, Metrics]:
    async with model(url) as endpoint:
        bare = BareWorker(endpoint)
        workers = [asyncio.create_task(bare.work()) for _ in range(WORKERS)]
        try:
            return await measure(Worker(bare.start, bare.call, own_cpu))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="URL")
    sys.stdout.write(json.dumps(uvloop.run(run(parser.parse_args().model))))


if __name__ == "__main__":
    main()
