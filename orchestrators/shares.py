"""How a limit is divided among workers, so that it holds across them.

Nobody is granted what another may still be using. A worker's share is worked out when it reports:
at most the whole, less what each of the others last said it uses, and what it may have read since
that it may use. So shares shrink first and grow a report or two later, and all that is in use
never exceeds the whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from contracts.sharing import (
    Grant,
    Holding,
    LimitName,
    LimitsReport,
    LimitUse,
    Report,
    SharedWorker,
)

MOST_GRANTS = 8
"""Kept for a worker that reports and does not read."""

FLOOR = 10
"""One part in so many is shared equally, the rest by demand: who is idle now can begin at once."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose report is merged, and when."""

    report: Report
    known: SharedWorker | None
    """The same worker at its report before."""
    others: Mapping[str, SharedWorker]
    number: int
    """See `apportion`."""
    floor: int = FLOOR


def holdings(told: Mapping[str, LimitsReport], turn: Turn) -> dict[str, dict[LimitName, Holding]]:
    """What the reporting worker may use from now on, by what has the limits: a deployment."""
    report, known = turn.report, turn.known
    granted: dict[str, dict[LimitName, Holding]] = {}
    for name, one in told.items():
        for limit, use in one.limits.items():
            theirs = _Theirs.of(turn.others, name, limit)
            amount = theirs.leave(use, report.worker, one.demand, turn)
            before = known.holdings.get(name, {}).get(limit) if known is not None else None
            grants = unseen(before, report.seen)
            grants.append(Grant(number=report.number, amount=amount))
            holding = Holding(whole=use.whole, in_use=use.in_use, grants=grants)
            granted.setdefault(name, {})[limit] = holding
    return granted


def unseen(before: Holding | None, seen: int) -> list[Grant]:
    """Those that the worker may have read since it wrote what it uses."""
    if before is None:
        return []
    unseen = [grant for grant in before.grants if grant.number > seen]
    while len(unseen) >= MOST_GRANTS:  # two become one that promises no less, for as long
        first, second = unseen[:2]
        unseen[:2] = [Grant(number=second.number, amount=max(first.amount, second.amount))]
    return unseen


@dataclass(frozen=True, slots=True)
class _Theirs:
    """What the other workers have of one limit."""

    whole: int | None
    """As the lowest of them knows it: while a change is rolled out the lower limit holds."""
    held: int
    demands: Mapping[str, float]

    @classmethod
    def of(cls, others: Mapping[str, SharedWorker], limited: str, limit: LimitName) -> _Theirs:
        known = {
            name: holding
            for name, worker in others.items()
            if (holding := worker.holdings.get(limited, {}).get(limit)) is not None
        }
        return cls(
            whole=min((holding.whole for holding in known.values()), default=None),
            held=sum(holding.held for holding in known.values()),
            demands={name: others[name].demand.get(limited, 0.0) for name in known},
        )

    def leave(self, use: LimitUse, worker: str, demand: float, turn: Turn) -> int:
        """What is left for one more: its fair share, as far as that is free."""
        whole = use.whole if self.whole is None else min(use.whole, self.whole)
        demands = {**self.demands, worker: demand}
        fair = apportion(whole, demands, turn.number, turn.floor)[worker]
        return max(0, min(fair, whole - self.held))


def apportion(
    whole: int, demands: Mapping[str, float], turn: int, floor: int = FLOOR
) -> dict[str, int]:
    """Whole shares by worker, which add up to `whole`.

    By demand, above a floor for everyone; what is left over goes to the largest remainders.
    `turn` moves on with time: whoever gets nothing now, since there is less than one for each,
    or loses among equals, is served in a later one.
    """
    workers = sorted(demands)
    count = len(workers)
    if not count:
        return {}
    if whole < count:
        order = _from(workers, turn * max(whole, 1))
        order.sort(key=lambda worker: demands[worker] <= 0)  # those who want some, first
        return {worker: int(place < whole) for place, worker in enumerate(order)}
    least = max(1, whole // (floor * count))
    quotas = _quotas(whole - least * count, demands)
    shares = {worker: least + int(quotas[worker]) for worker in workers}
    order = _from(workers, turn)
    order.sort(key=lambda worker: int(quotas[worker]) - quotas[worker])
    for worker in order[: whole - sum(shares.values())]:
        shares[worker] += 1
    return shares


def _from(workers: list[str], place: int) -> list[str]:
    place %= len(workers)
    return workers[place:] + workers[:place]


def _quotas(amount: int, demands: Mapping[str, float]) -> dict[str, float]:
    """Of two that want next to nothing neither wants more than the other: one call is added."""
    total = sum(demands.values()) + len(demands)
    return {worker: amount * (demand + 1) / total for worker, demand in demands.items()}
