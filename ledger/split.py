"""The hours of dedicated deployments, split by use: seconds of calls.

A deployment that serves one call at a time is a tenant's while it serves its call. One that serves
`max_concurrency` at once has as many seconds in each second. What no call fills is idle, and so
is what mirrored calls fill. Where calls took more seconds than there were, since more overlapped
than was declared, the whole is split in proportion.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal

from ledger.exact import EXACT, ZERO, share
from ledger.rates import Rate, Rates, paid
from ledger.sums import Cells, Key, Sums

HOUR = 3_600_000_000
"""In microseconds."""


def split(cells: Cells, rates: Rates, since: datetime, until: datetime) -> Cells:
    """What the hours between the two cost, as cells to be added. Their sum is the whole cost."""
    result: Cells = {}
    spans = list(paid(rates, since, until))
    for rate, microseconds in spans:
        of_day = [each for each in spans if each[0].deployment == rate.deployment]
        capacity = sum(length * each.concurrency for each, length in of_day)
        charge = share(rate.hourly or ZERO, microseconds, HOUR)
        _split_one(result, _of(cells, rate), rate, charge, capacity)
    return result


def _of(cells: Cells, rate: Rate) -> list[tuple[Key, int]]:
    """Who used the deployment, and for how many microseconds."""
    used = ((key, sums.busy) for key, sums in cells.items() if key.deployment == rate.deployment)
    return [(key, busy) for key, busy in used if busy]


def _split_one(
    result: Cells, used: list[tuple[Key, int]], rate: Rate, charge: Decimal, capacity: int
) -> None:
    whole = sum(busy for _, busy in used)
    rest = charge
    for key, busy in used:
        part = share(charge, busy, max(whole, capacity))
        rest = EXACT.subtract(rest, part)
        _add(result, key._replace(currency=rate.currency), part)
    if whole < capacity:
        idle = Key(None, rate.model, rate.deployment, rate.version, None, rate.currency)
        _add(result, idle, rest)
    else:  # what rounding left
        most = max(used, key=lambda each: each[1])[0]
        _add(result, most._replace(currency=rate.currency), rest)


def _add(result: Cells, key: Key, cost: Decimal) -> None:
    sums = result.setdefault(key, Sums())
    sums.cost = EXACT.add(sums.cost, cost)


def added(one: Cells, other: Cells) -> Iterable[tuple[Key, Sums]]:
    """All cells of both; a key may come twice."""
    yield from one.items()
    yield from other.items()
