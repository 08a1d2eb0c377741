"""The time between `from` and `to` in a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem
from triggers.http import Request
from triggers.operation import Parameter

EXPECTED = "a day such as 2030-01-31 (UTC), or a time with an offset such as 2030-01-31T12:00:00Z"
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Nothing is older. Keeps arithmetic with what callers send away from the ends of the calendar."""
_SKEW = timedelta(days=1)
"""Clocks of workers differ; nothing is further ahead than this."""


@dataclass(frozen=True, slots=True)
class Period:
    """From `since` on, before `until`; both aware, in UTC."""

    since: datetime
    until: datetime


def period_parameters(default: timedelta) -> tuple[Parameter, Parameter]:
    """Of an operation that takes a period."""
    schema = {"type": "string", "examples": ["2030-01-31", "2030-01-31T12:00:00Z"]}
    return (
        Parameter(
            "from",
            "query",
            f"The first day or time; by default {default.days} days before `to`.",
            schema,
        ),
        Parameter(
            "to", "query", "The first day or time that is left out; by default none is.", schema
        ),
    )


def query_period(req: Request, *, default: timedelta, longest: timedelta) -> Period:
    """What the query asks for. Raises InvalidRequest."""
    since, until = _time(req, "from"), _time(req, "to")
    most = datetime.now(UTC) + _SKEW
    until = most if until is None else max(min(until, most), _EARLIEST)
    since = until - default if since is None else max(since, _EARLIEST)
    if since > until:
        raise _wrong("from", "a time before `to`")
    if until - since > longest + _SKEW:
        raise _wrong("from", f"a time at most {longest.days} days before `to`")
    return Period(since, until)


def _time(req: Request, name: str) -> datetime | None:
    text = req.query.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None and len(text) <= len("2030-01-31"):  # a day
            at = at.replace(tzinfo=UTC)
        if at.tzinfo is not None:
            return at.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise _wrong(name, EXPECTED)


def _wrong(field: str, expected: str) -> InvalidRequest:
    return InvalidRequest(
        f"`{field}` is not as expected: {expected}.", [FieldProblem(field=field, expected=expected)]
    )
