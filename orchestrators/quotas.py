"""What all workers know of a tenant's quotas: one entity a tenant merges their reports.

As `standing` does for models; what a tenant spent is kept besides. Its state is all there is of it:
Durable Functions keeps that through a restart of everything.
"""

from __future__ import annotations

from typing import Any

import azure.durable_functions as df
from durabletask.entities import DurableEntity

from contracts.names import QUOTA_ENTITY
from contracts.quotas import QuotaReport, SharedTenant
from contracts.sharing import FORGET_AFTER, SharedWorker
from orchestrators.budgets import merged_budget
from orchestrators.shares import Turn, holdings

bp = df.Blueprint()

TURN_SECONDS = 10
"""How long what cannot be divided stays where it is."""
MOST_WORKERS = 200
"""Later ones are given nothing: they go on with the small part of who is alone."""
FLOOR = 50
"""One part in so many of a limit is shared equally, though some of the workers are idle: so a
tenant whose calls all come to one worker has the rest."""


@bp.entity_trigger(context_name="context", entity_name=QUOTA_ENTITY)
class Quota(DurableEntity):
    """Its key is the tenant's name."""

    def report(self, report: dict[str, Any]) -> None:
        """QuotaReport in."""
        state = SharedTenant.model_validate(self.get_state(dict, {}))
        after = merged(state, QuotaReport.model_validate(report))
        self.set_state(after.model_dump(mode="json"))


def merged(shared: SharedTenant, report: QuotaReport) -> SharedTenant:
    """With one worker's report; unchanged when it came late or twice."""
    known = shared.workers.get(report.worker)
    if known is not None and report.number <= known.number:
        return shared
    at = report.at if shared.at is None else max(shared.at, report.at)
    others = {
        name: worker
        for name, worker in shared.workers.items()
        if name != report.worker and at - worker.at <= FORGET_AFTER
    }
    turn = Turn(report, known, others, int(at.timestamp()) // TURN_SECONDS, FLOOR)
    workers, budgets = dict(others), dict(shared.budgets)
    if len(others) < MOST_WORKERS and not report.leaves:
        workers[report.worker] = SharedWorker(
            number=report.number,
            at=at,
            demand={name: told.demand for name, told in report.scopes.items()},
            holdings=holdings(report.scopes, turn),
        )
    for name, use in report.budgets.items():
        budgets[name] = merged_budget(budgets.get(name), use, report, at, turn)
    return SharedTenant(at=at, workers=workers, budgets=budgets)
