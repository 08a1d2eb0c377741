"""Days and months, by UTC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Period:
    name: str
    """2026-11-26, or 2026-11: they sort as they follow each other."""
    ends_at: datetime


type PeriodOf = Callable[[datetime], Period]
"""The one that an aware time is in."""


def day_of(at: datetime) -> Period:
    begin = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return Period(f"{begin:%Y-%m-%d}", begin + timedelta(days=1))


def month_of(at: datetime) -> Period:
    begin = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Period(f"{begin:%Y-%m}", (begin + timedelta(days=31)).replace(day=1))
