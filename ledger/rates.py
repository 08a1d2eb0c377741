"""What dedicated deployments have cost by the hour, and since when.

Their prices are in deployments.yaml, which tells of now only: a worker that starts keeps what has
changed there. A price counts from its `since`, when that is new; otherwise from when it is first
read. One that is no longer in the file has ended when a worker first misses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from pydantic import TypeAdapter

from stores.ledger import LedgerStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Of one deployment, from one moment on."""

    deployment: str
    model: str
    version: str | None
    begins: datetime
    """Aware, UTC."""
    hourly: Decimal | None
    """None: it costs nothing from then on."""
    currency: str
    concurrency: int
    """Calls at once that keep it busy."""
    since: datetime | None = None
    """As declared."""

    @property
    def declared(self) -> tuple[object, ...]:
        """What deployments.yaml says of it."""
        price = (self.hourly, self.currency, self.concurrency, self.since)
        return (self.model, self.version, *price)


type Rates = list[Rate]

_RATES = TypeAdapter(list[Rate])


def changed(known: Rates, declared: Mapping[str, Rate], now: datetime) -> Rates:
    """What is known, and what is new in the file. `declared` begin now."""
    latest = {rate.deployment: rate for rate in known}
    result = list(known)
    for name, rate in declared.items():
        before = latest.get(name)
        if before is not None and before.declared == rate.declared:
            continue
        is_new = rate.since is not None and (before is None or before.since != rate.since)
        begins = rate.since if is_new and rate.since is not None else now
        result.append(replace(rate, begins=begins))
    for name, before in latest.items():
        if name not in declared and before.hourly is not None:
            result.append(replace(before, begins=now, hourly=None, since=None))
    return result


def paid(rates: Rates, since: datetime, until: datetime) -> Iterator[tuple[Rate, int]]:
    """Each rate that holds between the two, and for how many microseconds."""
    for name in sorted({rate.deployment for rate in rates}):
        of_one = [rate for rate in rates if rate.deployment == name]
        for place, rate in enumerate(of_one):
            ends = min((later.begins for later in of_one[place + 1 :]), default=until)
            span = min(ends, until) - max(rate.begins, since)
            microseconds = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
            if rate.hourly and microseconds > 0:
                yield rate, microseconds


async def note(store: LedgerStore, declared: Mapping[str, Rate], now: datetime) -> None:
    """Keep what has changed. Raises DependencyUnavailable."""
    known = await read(store)
    result = changed(known, declared, now)
    if len(result) != len(known):
        await store.put_rates(_RATES.dump_json(result))


async def read(store: LedgerStore) -> Rates:
    stored = await store.get_rates()
    return [] if stored is None else _RATES.validate_json(stored)
