"""Lines of the journal: a record as the ledger keeps it for ever, a note that a request begins.

A record is an object of JSON, without prompt or answer; a note is a list, read by this module only.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue
from pydantic_core import from_json, to_json

from contracts.calls import Attempt, CallBegun, Task, UsageRecord
from ledger.exact import text
from ledger.prices import Bill


def record_line(record: UsageRecord, bill: Bill) -> bytes:
    attempt, usage = record.attempt, bill.usage
    told: dict[str, JsonValue] = {
        "request_id": attempt.request_id,
        "tenant": record.tenant,
        "job_id": record.job_id,
        "flow": record.flow,
        "model": attempt.model,
        "deployment": attempt.deployment,
        "version": attempt.version,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "started_at": attempt.started_at.isoformat(),
        "seconds": round(attempt.seconds, 6),
        "number": record.number,
        "requests": usage.requests,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "mirrored": record.mirrored,
        "estimated": bill.estimated,
        "cost": text(bill.cost),
        "currency": bill.currency,
    }
    return to_json(told, inf_nan_mode="null") + b"\n"


def note_line(begun: CallBegun) -> bytes:
    told: list[JsonValue] = [
        begun.request_id,
        begun.tenant,
        begun.job_id,
        begun.flow,
        begun.model,
        begun.task,
        begun.deployment,
        begun.protocol,
        begun.version,
        begun.started_at.isoformat(),
        begun.request_bytes,
        begun.mirrored,
    ]
    return to_json(told) + b"\n"


@dataclass(frozen=True, slots=True)
class Noted:
    """A note, read back."""

    request_id: str
    line: bytes

    def unknown(self) -> UsageRecord:
        """The record of a request whose end nobody has heard of."""
        told = from_json(self.line)
        request_id, tenant, job_id, flow, model, task, deployment, protocol, version = told[:9]
        attempt = Attempt(
            model=model,
            deployment=deployment,
            version=version,
            outcome="unknown",
            started_at=datetime.fromisoformat(told[9]),
            seconds=0.0,
            request_id=request_id,
            reason="the worker ended before the answer came",
        )
        return UsageRecord(
            tenant=tenant,
            job_id=job_id,
            attempt=attempt,
            number=0,
            task=Task(task),
            protocol=protocol,
            request_bytes=told[10],
            response_bytes=0,
            mirrored=told[11],
            flow=flow,
        )


def read_notes(data: bytes) -> Iterator[Noted]:
    """Those that are whole: a process may have died in the middle of the last."""
    for line in data.split(b"\n"):
        try:
            told = from_json(line)
        except ValueError:
            continue
        if isinstance(told, list) and told:
            yield Noted(str(told[0]), line)
