"""The line that each model call leaves in the log."""

from __future__ import annotations

import json
import logging

from contracts.calls import Attempt, Usage, UsageRecord
from tests.unit.endpoints_fakes import NOON
from wiring.usage import log_usage

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
    request_bytes=100,
    response_bytes=200,
    mirrored=True,
)


def test_a_call_is_one_line_of_json(caplog):
    with caplog.at_level(logging.INFO, "sluice.usage"):
        log_usage(RECORD)
    (line,) = caplog.messages
    assert json.loads(line) == {
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


def test_a_log_that_is_not_kept_costs_nothing(caplog):
    with caplog.at_level(logging.WARNING, "sluice.usage"):
        log_usage(RECORD)
    assert caplog.messages == []
