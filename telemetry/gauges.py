"""Deployments as figures: read when metrics are exported, never on a call's way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from contracts.deployments import DeploymentState, DeploymentStatus
from telemetry.tracing import NAME

type Statuses = Callable[[], Sequence[DeploymentStatus]]

BREAKER: dict[DeploymentState, int] = {"half_open": 1, "open": 2}
"""Closed is 0."""


def observe(statuses: Statuses) -> None:
    """Show these deployments from now on; once a process."""
    meter = metrics.get_meter(NAME)

    def gauge(name: str, unit: str, what: str, value: Callable[[DeploymentStatus], float]) -> None:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            for status in statuses():
                yield Observation(
                    value(status),
                    {"gen_ai.request.model": status.model, "sluice.deployment": status.name},
                )

        meter.create_observable_gauge(name, [read], unit, what)

    gauge(
        "sluice.deployment.in_flight",
        "{call}",
        "Calls under way in this worker.",
        lambda status: status.in_flight,
    )
    gauge(
        "sluice.deployment.limit",
        "{call}",
        "Calls that this worker may have under way.",
        lambda status: status.limit,
    )
    gauge(
        "sluice.deployment.waiting",
        "{call}",
        "Calls that wait for a slot at the model.",
        lambda status: status.waiting,
    )
    gauge(
        "sluice.deployment.breaker",
        "1",
        "0 closed, 1 half open, 2 open.",
        lambda status: BREAKER.get(status.state, 0),
    )
    gauge(
        "sluice.deployment.latency.p95",
        "s",
        "Of the last answered calls.",
        lambda status: status.latency.p95,
    )
