"""Each model call's usage in the log: JSON, without prompt or answer.

The ledger is what bills are made of; the log tells the same to whoever looks at what just happened.
Records are written together, once a second: a line of log costs as much as a tenth of a call.
"""

from __future__ import annotations

import asyncio
import atexit
import logging

usage_log = logging.getLogger("sluice.usage")

EVERY_SECONDS = 1.0
MOST = 100
"""Records of one line."""


class UsageLog:
    """Takes each record as the ledger keeps it: an object of JSON."""

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        atexit.register(self.flush)

    def __call__(self, record: bytes) -> None:
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
            usage_log.info("[%s]", b",".join(records).decode())
