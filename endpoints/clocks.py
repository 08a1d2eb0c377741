"""The two clocks: one that people read, and one that never jumps."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Clocks:
    now: Callable[[], datetime] = _utc_now
    """Aware, UTC."""
    monotonic: Callable[[], float] = time.monotonic
    """Seconds."""

    def dated(self, moment: float) -> datetime:
        """A moment of the monotonic clock, on the other one."""
        return self.now() + timedelta(seconds=moment - self.monotonic())
