"""What all workers know of a model's deployments: one entity a model merges their reports.

Of what changes (a breaker, a cooldown) the latest report holds; what adds up is added up; limits
are divided as `shares` says. Nothing here looks at a clock: time is what the reports say.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import azure.durable_functions as df
from durabletask.entities import DurableEntity

from contracts.names import STANDING_ENTITY
from contracts.sharing import (
    FORGET_AFTER,
    DeploymentReport,
    Fact,
    SharedDeployment,
    SharedModel,
    SharedWorker,
    WorkerReport,
)
from contracts.steering import Override, Overrides
from orchestrators.shares import Turn, holdings

bp = df.Blueprint()

TURN_SECONDS = 10
"""How long what cannot be divided stays where it is."""
MOST_WORKERS = 200
"""Later ones are not given shares: they keep to the small one that each begins with."""
MOST_DEPLOYMENTS = 100


@bp.entity_trigger(context_name="context", entity_name=STANDING_ENTITY)
class Standing(DurableEntity):
    """Its key is the model's: see `standing_key`."""

    def report(self, report: dict[str, Any]) -> None:
        """WorkerReport in."""
        self._keep(merged(self._shared(), WorkerReport.model_validate(report)))

    def steer(self, overrides: dict[str, Any]) -> None:
        """Overrides in: an Override a deployment."""
        wanted = {name: Override.model_validate(each) for name, each in overrides.items()}
        self._keep(steered(self._shared(), wanted))

    def get(self) -> dict[str, Any]:
        """SharedModel out."""
        return self._shared().model_dump(mode="json")

    def _shared(self) -> SharedModel:
        return SharedModel.model_validate(self.get_state(dict, {}))

    def _keep(self, shared: SharedModel) -> None:
        self.set_state(shared.model_dump(mode="json"))


def steered(shared: SharedModel, overrides: Overrides) -> SharedModel:
    """With an operator's wishes; a field that a wish leaves out stays as it is."""
    deployments = dict(shared.deployments)
    for name, override in overrides.items():
        before = deployments.get(name, SharedDeployment())
        deployments[name] = before.model_copy(update=override.model_dump(exclude_unset=True))
    return shared.model_copy(update={"deployments": deployments})


def merged(shared: SharedModel, report: WorkerReport) -> SharedModel:
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
    workers = dict(others)
    if len(others) < MOST_WORKERS:
        workers[report.worker] = SharedWorker(
            number=report.number,
            at=at,
            demand={name: told.demand for name, told in report.deployments.items()},
            holdings=holdings(
                report.deployments,
                Turn(report, known, others, int(at.timestamp()) // TURN_SECONDS),
            ),
        )
    deployments = _bounded(shared.deployments, report)
    for name, told in report.deployments.items():
        deployments[name] = _deployment(deployments.get(name, SharedDeployment()), told)
    return SharedModel(at=at, workers=workers, deployments=deployments)


def _bounded(
    known: dict[str, SharedDeployment], report: WorkerReport
) -> dict[str, SharedDeployment]:
    """Names that deployments.yaml had once are forgotten when there are many."""
    if len(known) <= MOST_DEPLOYMENTS:
        return dict(known)
    return {
        name: each
        for name, each in known.items()
        if name in report.deployments or (each.weight, each.priority) != (None, None)
    }


def _deployment(before: SharedDeployment, told: DeploymentReport) -> SharedDeployment:
    return before.model_copy(
        update={
            "breaker": _later(before.breaker, told.breaker),
            "unusable": _later(before.unusable, told.unusable),
            "cooling_until": _longest(before.cooling_until, told.cooling_until),
            "counts": before.counts + told.counts,
        }
    )


def _later(known: Fact | None, told: Fact | None) -> Fact | None:
    return told if told is not None and told.follows(known) else known


def _longest(known: datetime | None, told: datetime | None) -> datetime | None:
    return max((time for time in (known, told) if time is not None), default=None)
