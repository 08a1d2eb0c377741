"""A deployment as `GET /v1/deployments` shows it."""

from __future__ import annotations

from contracts.deployments import DeploymentState, DeploymentStatus, Latency
from endpoints.clocks import Clocks
from endpoints.deployment import Deployment
from endpoints.routing.rates import RateLimit
from endpoints.routing.standing import Refusal, Standing

_STATES: dict[Refusal | None, DeploymentState] = {
    None: "ready",
    Refusal.COOLING: "cooling",
    Refusal.OPEN: "open",
    Refusal.RATE: "rate_limited",
    Refusal.FULL: "full",
    Refusal.STALLED: "stalled",
    Refusal.UNUSABLE: "unusable",
}


def status(deployment: Deployment, model: str, waiting: int, clocks: Clocks) -> DeploymentStatus:
    """`waiting`: calls that wait for a slot at the model."""
    standing, now = deployment.standing, clocks.monotonic()
    statistics = standing.statistics
    p50, p95, p99 = statistics.percentiles(50, 95, 99)
    state = _state(deployment.weight, standing, now)
    until = standing.admits_from(now)
    failed_at = statistics.last_reason_at
    return DeploymentStatus(
        model=model,
        name=deployment.name,
        protocol=deployment.protocol,
        version=deployment.version,
        region=deployment.region,
        priority=deployment.priority,
        weight=deployment.weight,
        state=state,
        until=clocks.dated(until) if until > now else None,
        limit=standing.calls_at_once.limit,
        in_flight=standing.calls_at_once.in_flight,
        waiting=waiting,
        requests_last_minute=_used(standing.requests, now),
        tokens_last_minute=_used(standing.tokens, now),
        latency=Latency(p50=p50, p95=p95, p99=p99),
        outcomes={str(outcome): count for outcome, count in statistics.outcomes.items()},
        last_reason=statistics.last_reason,
        last_reason_at=None if failed_at is None else clocks.dated(failed_at),
    )


def _state(weight: float, standing: Standing, now: float) -> DeploymentState:
    refusal = standing.refusal(now)
    if refusal in (None, Refusal.FULL) and standing.breaker.state(now) == "half_open":
        return "half_open"
    if refusal is None and weight <= 0:
        return "drained"
    return _STATES[refusal]


def _used(limit: RateLimit | None, now: float) -> int | None:
    return None if limit is None else round(limit.used(now))
