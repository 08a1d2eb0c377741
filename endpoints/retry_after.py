"""When a server says to come back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

SHORTEST = 0.1
"""Seconds. Below it, "come back at once" would spin."""
LONGEST = 600.0
"""Seconds. One absurd header must not bench a deployment for a day."""

_UNITS = {"retry-after-ms": 0.001, "x-ms-retry-after-ms": 0.001, "retry-after": 1.0}
"""The headers in the order they are read: the more exact forms of Azure OpenAI come first."""

_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,9})?")


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to stay away, within SHORTEST and LONGEST; None when no header says.

    `Retry-After` is read as RFC 9110 section 10.2.3 defines it, seconds or an HTTP date.
    What is malformed counts as absent. `now` is aware.
    """
    for name, unit in _UNITS.items():
        text = headers.get(name, "").strip()
        if _NUMBER.fullmatch(text):
            return _bounded(float(text) * unit)
    date = _date(headers.get("retry-after", ""))
    return None if date is None else _bounded((date - now).total_seconds())


def _bounded(seconds: float) -> float:
    return min(max(seconds, SHORTEST), LONGEST)


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)  # "-0000" is UTC by RFC 5322
