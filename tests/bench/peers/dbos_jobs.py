"""DBOS on SQLite: a job is a workflow of one step; the step asks the model, DBOS keeps the rest.

`python -m tests.bench.peers.dbos_jobs --model URL --state DIR [--tuned]`, with the Python of
.venv-peers, prints metrics by case, as JSON. Workflows are started from coroutines of the same
process, so there is no network in front of them. Everything is as DBOS ships it; `--tuned` adds
what SQLite offers and DBOS leaves alone: a write-ahead log, and no flush to disk at each commit.
A commit then outlives the process and not a power cut, which is what the local task hub promises.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

if sqlite3.sqlite_version_info < (3, 42):
    import pysqlite3  # a newer SQLite under the same API

    sys.modules["sqlite3"] = pysqlite3

import sqlalchemy
import uvloop
from dbos import DBOS, DBOSConfig
from sqlalchemy import event

from tests.bench.peers.load import (
    FAN_OUT,
    FAN_OUT_WIDTH,
    TEXT,
    Ending,
    Metrics,
    Worker,
    measure,
    own_cpu,
)
from tests.bench.peers.model import Model, model

QUEUE = "children"
QUEUE_POLL_SECONDS = 0.1
"""A tenth of the default, for short children."""

_endpoint: list[Model] = []
"""The model, for the steps of this process; DBOS keeps the arguments of steps in its database."""


@DBOS.step()  # type: ignore[untyped-decorator]
async def ask(text: str) -> str:
    return await _endpoint[0].ask(text)


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def job(text: str) -> str:
    return str(await ask(text))


@DBOS.step()  # type: ignore[untyped-decorator]
async def double(number: int) -> int:
    return number * 2


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def child(number: int) -> int:
    return int(await double(number))


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def fan_out_to_children(count: int) -> int:
    handles = [await DBOS.enqueue_workflow_async(QUEUE, child, n) for n in range(count)]
    return sum([await handle.get_result() for handle in handles])


@DBOS.workflow()  # type: ignore[untyped-decorator]
async def fan_out_to_steps(count: int) -> int:
    return sum(await asyncio.gather(*(double(n) for n in range(count))))


async def start() -> Ending:
    handle = await DBOS.start_workflow_async(job, TEXT)

    async def ended() -> float:
        assert await handle.get_result()
        return time.time()

    # Waits from now on, so that the end is seen when it comes.
    waiting = asyncio.create_task(ended())
    return lambda: waiting


async def call() -> float:
    ending = await start()
    return await ending()


async def fan_out(workflow: Any) -> float:
    """Children or steps a second."""
    began = time.perf_counter()
    handle = await DBOS.start_workflow_async(workflow, FAN_OUT_WIDTH)
    assert await handle.get_result() == FAN_OUT_WIDTH * (FAN_OUT_WIDTH - 1)
    return FAN_OUT_WIDTH / (time.perf_counter() - began)


def config(database: Path, *, tuned: bool) -> DBOSConfig:
    url = f"sqlite:///{database}"
    made: DBOSConfig = {"name": "bench", "system_database_url": url, "log_level": "ERROR"}
    if tuned:
        made["system_database_engine"] = _tuned_engine(url)
    return made


def _tuned_engine(url: str) -> sqlalchemy.Engine:
    """What DBOS makes itself, with two settings more."""
    engine = sqlalchemy.create_engine(url, pool_size=20, max_overflow=0, pool_timeout=30)

    @event.listens_for(engine, "connect")  # type: ignore[untyped-decorator]
    def _set_up(connection: Any, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("busy_timeout=30000", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


async def run(url: str, database: Path, *, tuned: bool) -> dict[str, Metrics]:
    DBOS(config=config(database, tuned=tuned))
    DBOS.launch()
    try:
        await DBOS.register_queue_async(QUEUE, polling_interval_sec=QUEUE_POLL_SECONDS)
        async with model(url) as endpoint:
            _endpoint.append(endpoint)
            measured = await measure(Worker(start, call, own_cpu))
        measured[FAN_OUT] = {
            "per_s": await fan_out(fan_out_to_children),
            "steps_of_one_workflow_per_s": await fan_out(fan_out_to_steps),
        }
        return measured
    finally:
        DBOS.destroy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, metavar="URL")
    parser.add_argument("--state", required=True, type=Path, metavar="DIR")
    parser.add_argument("--tuned", action="store_true")
    arguments = parser.parse_args()
    database = arguments.state / "dbos.sqlite"
    measured = uvloop.run(run(arguments.model, database, tuned=arguments.tuned))
    sys.stdout.write(json.dumps(measured))


if __name__ == "__main__":
    main()
