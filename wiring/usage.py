"""Each model call's usage as one line of the log: JSON, without prompt or answer."""

from __future__ import annotations

import json
import logging

from contracts.calls import UsageRecord

usage_log = logging.getLogger("sluice.usage")


def log_usage(record: UsageRecord) -> None:
    """A `Meter`: who used what, of which deployment, and how it ended."""
    if not usage_log.isEnabledFor(logging.INFO):
        return
    attempt = record.attempt
    line = {
        "tenant": record.tenant,
        "job_id": record.job_id,
        "model": attempt.model,
        "deployment": attempt.deployment,
        "version": attempt.version,
        "outcome": attempt.outcome,
        "status": attempt.status,
        "started_at": attempt.started_at.isoformat(),
        "seconds": round(attempt.seconds, 4),
        "request_id": attempt.request_id,
        "number": record.number,
        "input_tokens": attempt.usage.input_tokens,
        "output_tokens": attempt.usage.output_tokens,
        "request_bytes": record.request_bytes,
        "response_bytes": record.response_bytes,
        "mirrored": record.mirrored,
    }
    usage_log.info("%s", json.dumps(line))
