"""When a timer is due: NCRONTAB expressions and time spans, as timer triggers take them.

`{second} {minute} {hour} {day} {month} {day-of-week}`, in UTC; with five fields the second is 0.
A field is `*`, a number, a name (JAN, MON), `a-b`, each with `/step`, or a list of these. Day and
day-of-week must both match, which differs from Unix cron. A time span is `hh:mm:ss` or
`d.hh:mm:ss`. Source: "Timer trigger for Azure Functions: NCRONTAB expressions".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from devhost.functions_host.cron_fields import (
    DAY,
    HOUR,
    MINUTE,
    MONTH,
    SECOND,
    WEEKDAY,
    ScheduleError,
)

__all__ = ["Cron", "Interval", "Schedule", "ScheduleError", "parse_schedule"]

_SPAN = re.compile(r"(?:(?P<d>\d+)\.)?(?P<h>\d{1,2}):(?P<m>[0-5]?\d):(?P<s>[0-5]?\d)")

# 29 February falls on a given day of the week every 28 years, or 40 across a skipped leap year.
_HORIZON = timedelta(days=366 * 41)


class Schedule(Protocol):
    def next(self, after: datetime) -> datetime:
        """The first time later than `after` that is due; both aware."""
        ...


@dataclass(frozen=True, slots=True)
class Interval:
    """Due every so often, counted from the last time."""

    length: timedelta

    def next(self, after: datetime) -> datetime:
        return after + self.length


@dataclass(frozen=True, slots=True)
class Cron:
    """Due when every field of the time is one of those given."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    """0 is Sunday."""

    def next(self, after: datetime) -> datetime:
        moment = after.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
        day = moment.replace(hour=0, minute=0, second=0)
        end = day + _HORIZON
        while day < end:
            if self._on(day):
                found = self._time_from(max(moment, day))
                if found is not None:
                    return found
                day += timedelta(days=1)
            elif day.month not in self.months:
                day = _next_month(day)
            else:
                day += timedelta(days=1)
        raise ScheduleError("no such date ever comes")

    def _on(self, day: datetime) -> bool:
        return (
            day.month in self.months
            and day.day in self.days
            and (day.weekday() + 1) % 7 in self.weekdays
        )

    def _time_from(self, moment: datetime) -> datetime | None:
        """The first time of that day, not before the moment; None if the day has no more."""
        earliest = (moment.hour, moment.minute, moment.second)
        for hour in self.hours:
            if hour < earliest[0]:
                continue
            for minute in self.minutes:
                if (hour, minute) < earliest[:2]:
                    continue
                for second in self.seconds:
                    if (hour, minute, second) >= earliest:
                        return moment.replace(hour=hour, minute=minute, second=second)
        return None


def _next_month(day: datetime) -> datetime:
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1)


def parse_schedule(text: str) -> Schedule:
    """The schedule of a timer trigger. Raises ScheduleError."""
    span = _SPAN.fullmatch(text.strip())
    if span is not None:
        return _interval(text, span)
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ScheduleError(f"{text!r}: expected six fields, or a time span hh:mm:ss")
    cron = Cron(
        seconds=SECOND.values(fields[0]),
        minutes=MINUTE.values(fields[1]),
        hours=HOUR.values(fields[2]),
        days=frozenset(DAY.values(fields[3])),
        months=frozenset(MONTH.values(fields[4])),
        weekdays=frozenset(WEEKDAY.values(fields[5])),
    )
    cron.next(datetime(2000, 1, 1, tzinfo=UTC))  # 30 February is refused at once
    return cron


def _interval(text: str, span: re.Match[str]) -> Interval:
    parts = {unit: int(span[unit] or 0) for unit in "dhms"}
    length = timedelta(days=parts["d"], hours=parts["h"], minutes=parts["m"], seconds=parts["s"])
    if parts["h"] > 23 or not length:
        raise ScheduleError(f"{text!r}: expected a time span above zero, with hours up to 23")
    return Interval(length)
