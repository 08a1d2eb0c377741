"""How a budget is divided among workers, so that what all of them spend never exceeds it.

A worker is granted how far its spending may come; at most what the budget leaves when all others
come as far as they may. What a worker spent stays spent when the worker is gone: it is kept by the
worker's life until nothing more can be heard of that, and summed from then on.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from contracts.quotas import (
    BudgetHolding,
    BudgetUse,
    Life,
    QuotaReport,
    SharedBudget,
    life_key,
)
from contracts.sharing import Grant, SharedWorker
from orchestrators.shares import Turn, apportion, unseen

OVER_AFTER = timedelta(minutes=10)
"""A life that has not been heard of for so long is over."""
MOST_LIVES = 500
AHEAD = 10
"""One part in so many of what is left is the most that a worker is granted at a time: who dies
untold, or is not heard of any more, has spent no more than that."""
CALLS_AHEAD = 32
"""And so many calls at least."""


def merged_budget(
    before: SharedBudget | None, use: BudgetUse, report: QuotaReport, at: datetime, turn: Turn
) -> SharedBudget:
    """With what one worker tells of it, who has told it before or is new.

    A new period begins with nothing spent; of a former one nothing is heard any more.
    """
    if before is not None and use.period < before.period:
        return before
    if before is None or use.period > before.period:
        before = SharedBudget(period=use.period)
    worker, life = report.worker, report.life
    lives = dict(before.lives)
    told = lives.get(life_key(worker, life))
    if told is None or told.number < report.number:
        told = Life(spent=use.spent, at=at, number=report.number)
        lives[life_key(worker, life)] = told
    settled, lives = _settled(before.settled, lives, at)
    theirs = {name: held for name, held in before.holdings.items() if name in turn.others}
    now = SharedBudget(period=use.period, settled=settled, lives=lives, holdings=theirs)
    if report.leaves:
        return now
    known = before.holdings.get(worker)
    grants = unseen(known if known is not None and known.life == life else None, report.seen)
    grants.append(Grant(number=report.number, amount=_amount(now, use, report, turn)))
    mine = BudgetHolding(
        whole=use.whole, in_use=use.in_use, grants=grants, life=life, aside=use.aside
    )
    return now.model_copy(update={"holdings": {**theirs, worker: mine}})


def _settled(settled: int, lives: dict[str, Life], at: datetime) -> tuple[int, dict[str, Life]]:
    """Lives that are over are summed."""
    newest_first = sorted(lives, key=lambda name: lives[name].at, reverse=True)
    over = {name for name in lives if at - lives[name].at > OVER_AFTER}
    over.update(newest_first[MOST_LIVES:])
    settled += sum(lives[name].spent for name in over)
    return settled, {name: life for name, life in lives.items() if name not in over}


def _amount(now: SharedBudget, use: BudgetUse, report: QuotaReport, turn: Turn) -> int:
    """How far the reporting worker may come, what it has spent in this life included."""
    whole = min([use.whole, *(held.whole for held in now.holdings.values())])
    mine = life_key(report.worker, report.life)
    theirs = {life_key(name, held.life): held.held for name, held in now.holdings.items()}
    taken = now.settled + sum(theirs.values())
    taken += sum(life.spent for key, life in now.lives.items() if key not in {*theirs, mine})
    share = _share(max(0, whole - now.spent), now, use, report, turn)
    return max(0, min(use.spent + share, whole - taken))


def _share(left: int, now: SharedBudget, use: BudgetUse, report: QuotaReport, turn: Turn) -> int:
    """Of what is left, in pieces that are of use to the worker."""
    ahead = min(left, max(left // AHEAD, CALLS_AHEAD * use.grain))
    demands = {name: _demand(turn.others[name]) for name in now.holdings}
    demands[report.worker] = report.demand
    if len(demands) == 1 or left < use.grain:
        return ahead
    pieces = apportion(left // use.grain, demands, turn.number, turn.floor)[report.worker]
    return min(ahead, pieces * use.grain + (left % use.grain if pieces else 0))


def _demand(worker: SharedWorker) -> float:
    return max(worker.demand.values(), default=0.0)
