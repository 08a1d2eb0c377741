"""Each model call's usage in the log: JSON, without prompt or answer.

Records are written together, once a second: a line of log costs as much as a tenth of a call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging

from pydantic import JsonValue
from pydantic_core import to_json

from contracts.calls import UsageRecord

usage_log = logging.getLogger("sluice.usage")

EVERY_SECONDS = 1.0
MOST = 100
"""Records of one line."""


class UsageLog:
    """A `Meter`: who used what, of which deployment, and how it ended."""

    def __init__(self) -> None:
        self._records: list[UsageRecord] = []
        self._timer: asyncio.TimerHandle | None = None
        atexit.register(self.flush)

    def __call__(self, record: UsageRecord) -> None:
        """To be called in the event loop."""
        if not usage_log.isEnabledFor(logging.INFO):
            return
        self._records.append(record)
        if len(self._records) >= MOST:
            self.flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(EVERY_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has come together."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        records, self._records = self._records, []
        if records:
            usage_log.info("%s", to_json([_told(record) for record in records]).decode())


def _told(record: UsageRecord) -> dict[str, JsonValue]:
    attempt = record.attempt
    return {
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
