"""What each model call leaves in the log."""

from __future__ import annotations

import asyncio
import json
import logging

from contracts.calls import Attempt, Task, Usage, UsageRecord
from tests.unit.endpoints_fakes import NOON
from tests.unit.virtual_time import run_in_virtual_time
from wiring.usage import EVERY_SECONDS, MOST, UsageLog

RECORD = UsageRecord(
    tenant="acme",
    job_id="job_1",
    attempt=Attempt(
        model="chat",
        deployment="blue",
        version="2",
        outcome="answered",
        status=200,
        started_at=NOON,
        seconds=0.123456,
        request_id="r-1",
        usage=Usage(input_tokens=7, output_tokens=5, requests=1),
    ),
    number=1,
    task=Task.CHAT,
    protocol="openai",
    request_bytes=100,
    response_bytes=200,
    mirrored=True,
)


TOLD = {
    "tenant": "acme",
    "job_id": "job_1",
    "model": "chat",
    "deployment": "blue",
    "version": "2",
    "outcome": "answered",
    "status": 200,
    "started_at": "2026-03-02T12:00:00+00:00",
    "seconds": 0.1235,
    "request_id": "r-1",
    "number": 1,
    "input_tokens": 7,
    "output_tokens": 5,
    "request_bytes": 100,
    "response_bytes": 200,
    "mirrored": True,
}


def told(caplog):
    return [json.loads(line) for line in caplog.messages]


async def test_a_call_is_an_object_of_json(caplog):
    log = UsageLog()
    with caplog.at_level(logging.INFO, "sluice.usage"):
        log(RECORD)
        log.flush()
        log.flush()
    assert told(caplog) == [[TOLD]]


def test_calls_are_told_together_within_a_second(caplog):
    async def calls() -> None:
        log = UsageLog()
        for _ in range(3):
            log(RECORD)
        assert caplog.messages == []
        await asyncio.sleep(EVERY_SECONDS + 0.1)

    with caplog.at_level(logging.INFO, "sluice.usage"):
        run_in_virtual_time(calls())
    assert told(caplog) == [[TOLD] * 3]


async def test_many_are_told_at_once(caplog):
    log = UsageLog()
    with caplog.at_level(logging.INFO, "sluice.usage"):
        for _ in range(MOST + 1):
            log(RECORD)
        assert [len(line) for line in told(caplog)] == [MOST]
        log.flush()
    assert [len(line) for line in told(caplog)] == [MOST, 1]


async def test_a_log_that_is_not_kept_costs_nothing(caplog):
    log = UsageLog()
    with caplog.at_level(logging.WARNING, "sluice.usage"):
        log(RECORD)
        log.flush()
    assert caplog.messages == []
