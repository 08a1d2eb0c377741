"""One field of an NCRONTAB expression: `*`, `5`, `MON`, `1-5`, `*/10`, `0-30/5`, lists of these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_MONTH_NAMES = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAY_NAMES = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


class ScheduleError(ValueError):
    """Not a schedule. The message says which part of it is wrong and what was expected."""


@dataclass(frozen=True, slots=True)
class CronField:
    """What may stand in a field."""

    name: str
    low: int
    high: int
    names: Mapping[str, int] = field(default_factory=dict)

    def values(self, text: str) -> tuple[int, ...]:
        """The values that the field lets through, in order. Raises ScheduleError."""
        found: set[int] = set()
        for part in text.split(","):
            found.update(self._range(part))
        return tuple(sorted(found))

    def _range(self, part: str) -> range:
        body, slash, step_text = part.partition("/")
        first, dash, last = body.partition("-")
        step = self._step(step_text) if slash else 1
        if body == "*":
            return range(self.low, self.high + 1, step)
        start = self._number(first)
        open_ended = self.high if slash else start
        stop = self._number(last) if dash else open_ended
        if start > stop:
            raise ScheduleError(f"{self.name} {part!r}: {start} comes after {stop}")
        return range(start, stop + 1, step)

    def _number(self, text: str) -> int:
        if text.upper() in self.names:
            return self.names[text.upper()]
        if text.isascii() and text.isdecimal() and self.low <= int(text) <= self.high:
            return int(text)
        raise ScheduleError(f"{self.name}: expected {self.low} to {self.high}, got {text!r}")

    def _step(self, text: str) -> int:
        if text.isascii() and text.isdecimal() and int(text) > 0:
            return int(text)
        raise ScheduleError(f"{self.name}: expected a step above zero, got {text!r}")


SECOND = CronField("second", 0, 59)
MINUTE = CronField("minute", 0, 59)
HOUR = CronField("hour", 0, 23)
DAY = CronField("day", 1, 31)
MONTH = CronField("month", 1, 12, {name: n for n, name in enumerate(_MONTH_NAMES, start=1)})
WEEKDAY = CronField("day-of-week", 0, 6, {name: n for n, name in enumerate(_DAY_NAMES)})
