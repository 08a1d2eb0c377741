"""What each model call leaves in the log."""

from __future__ import annotations

import asyncio
import json
import logging

from tests.unit.virtual_time import run_in_virtual_time
from wiring.usage import EVERY_SECONDS, MOST, UsageLog

LINE = b'{"request_id":"r-1"}'
TOLD = {"request_id": "r-1"}


def told(caplog):
    return [json.loads(line) for line in caplog.messages]


async def test_a_call_is_an_object_of_json(caplog):
    log = UsageLog()
    with caplog.at_level(logging.INFO, "sluice.usage"):
        log(LINE)
        log.flush()
        log.flush()
    assert told(caplog) == [[TOLD]]


def test_calls_are_told_together_within_a_second(caplog):
    async def calls() -> None:
        log = UsageLog()
        for _ in range(3):
            log(LINE)
        assert caplog.messages == []
        await asyncio.sleep(EVERY_SECONDS + 0.1)

    with caplog.at_level(logging.INFO, "sluice.usage"):
        run_in_virtual_time(calls())
    assert told(caplog) == [[TOLD] * 3]


async def test_many_are_told_at_once(caplog):
    log = UsageLog()
    with caplog.at_level(logging.INFO, "sluice.usage"):
        for _ in range(MOST + 1):
            log(LINE)
        assert [len(line) for line in told(caplog)] == [MOST]
        log.flush()
    assert [len(line) for line in told(caplog)] == [MOST, 1]


async def test_a_log_that_is_not_kept_costs_nothing(caplog):
    log = UsageLog()
    with caplog.at_level(logging.WARNING, "sluice.usage"):
        log(LINE)
        log.flush()
    assert caplog.messages == []
