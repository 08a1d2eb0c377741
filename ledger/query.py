"""Questions to the ledger: what was used between two days, by whom or what, and at what cost.

Days are summed up as they are asked for, and what they come to is kept beside the records, with
how much of each blob is in it. Blobs only grow, so the next question reads what has come since,
whenever that is: a journal that is adopted days later changes the day that it belongs to.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta

from contracts.usage import Grouping, UsageReport, UsageRow
from ledger import rates
from ledger.exact import seconds
from ledger.rates import Rates
from ledger.split import added, split
from ledger.sums import Day, Key, Sums
from stores.ledger import LedgerStore

_log = logging.getLogger("sluice.ledger")

LINES_AT_ONCE = 500
"""Before others of the event loop have their turn."""
WORTH_KEEPING = 256 * 1024
"""Bytes of records of a day that goes on, before its sums are kept anew."""


@dataclass(frozen=True, slots=True)
class Question:
    since: date
    until: date
    """The first day that is left out."""
    by: tuple[Grouping, ...] = ()
    tenant: str | None = None
    """Whose usage alone; None: everybody's, and what nobody used."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Books:
    """Methods raise DependencyUnavailable when storage cannot be used."""

    def __init__(self, store: LedgerStore, now: Callable[[], datetime] = _utc_now) -> None:
        self._store = store
        self._now = now

    async def report(self, question: Question) -> UsageReport:
        groups = _Groups(question)
        dedicated = await rates.read(self._store)
        async for day, sums in self._days(question.since, question.until):
            groups.add(day, sums, dedicated, self._now())
        return UsageReport(
            since=question.since,
            until=question.until,
            group_by=list(question.by),
            data=groups.rows(),
        )

    async def roll_up(self) -> None:
        """Sum up today and yesterday, so that questions find little to read."""
        today = self._now().date()
        async for _ in self._days(today - timedelta(days=1), today + timedelta(days=1)):
            pass

    async def _days(self, since: date, until: date) -> AsyncIterator[tuple[date, Day]]:
        month, listed = "", dict[str, dict[str, int]]()
        for number in range((until - since).days):
            day = since + timedelta(days=number)
            if day > self._now().date():
                return
            if month != f"{day:%Y-%m}":
                month = f"{day:%Y-%m}"
                listed = await self._store.usage(month)
            yield day, await self._day(day, listed.get(day.isoformat(), {}))

    async def _day(self, day: date, blobs: dict[str, int]) -> Day:
        stored = await self._store.get_day(day.isoformat())
        sums = Day() if stored is None else Day.load(stored)
        read = 0
        for name, size in blobs.items():
            start = sums.counted.get(name, 0)
            if size > start:
                await self._add(sums, name, start, size)
                read += size - start
        over = day < self._now().date()
        if read >= WORTH_KEEPING or (read and over):
            await self._store.put_day(day.isoformat(), sums.dump())
        return sums

    async def _add(self, sums: Day, name: str, start: int, end: int) -> None:
        rest, number = b"", 0
        async for piece in self._store.read(name, start, end - start):
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                try:
                    sums.add_line(line)
                except (ValueError, KeyError, TypeError):
                    _log.error("%s has a line that is no record", name)
                number += 1
                if number % LINES_AT_ONCE == 0:
                    await asyncio.sleep(0)
        sums.counted[name] = end


type _Group = tuple[bool, tuple[str | None, ...]]
"""Whether it is idle time, and what of it was asked for."""


@dataclass(slots=True)
class _Groups:
    question: Question
    sums: dict[_Group, dict[str | None, Sums]] = field(default_factory=dict)
    """By currency."""

    def add(self, day: date, sums: Day, dedicated: Rates, now: datetime) -> None:
        begins = datetime.combine(day, time(), UTC)
        hours = split(sums.cells, dedicated, begins, min(begins + timedelta(days=1), now))
        for key, each in added(sums.cells, hours):
            if self.question.tenant is None or key.tenant == self.question.tenant:
                group = (key.tenant is None, tuple(_values(key, day, self.question.by)))
                self.sums.setdefault(group, {}).setdefault(key.currency, Sums()).add(each)

    def rows(self) -> list[UsageRow]:
        order = sorted(self.sums, key=lambda group: [group[0], *(each or "" for each in group[1])])
        return [
            _row(self.question.by, group, currency, sums)
            for group in order
            for currency, sums in _by_currency(self.sums[group])
        ]


def _by_currency(found: dict[str | None, Sums]) -> Iterator[tuple[str | None, Sums]]:
    """What has no price costs nothing in any currency."""
    free = found.get(None)
    priced = sorted((currency, sums) for currency, sums in found.items() if currency is not None)
    if free is not None and priced:
        priced[0][1].add(free)
    elif free is not None:
        yield None, free
    yield from priced


def _values(key: Key, day: date, by: tuple[Grouping, ...]) -> Iterator[str | None]:
    for each in by:
        yield day.isoformat() if each is Grouping.DAY else getattr(key, each)


def _row(by: tuple[Grouping, ...], group: _Group, currency: str | None, sums: Sums) -> UsageRow:
    idle, values = group
    requests = sums.outcomes.total()
    return UsageRow.model_validate(
        {
            **dict(zip(by, values, strict=True)),
            "idle": idle,
            "requests": requests,
            "outcomes": dict(sorted(sums.outcomes.items())),
            "mirrored": sums.mirrored,
            "input_tokens": sums.input_tokens,
            "output_tokens": sums.output_tokens,
            "seconds": float(seconds(sums.microseconds)),
            "cost": sums.cost,
            "currency": currency,
            "estimated_requests": sums.estimated,
            "estimated_cost": sums.estimated_cost,
            "estimated_share": sums.estimated / requests if requests else 0.0,
        }
    )
