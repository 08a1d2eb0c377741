"""Quotas in virtual time: of workers that exchange reports as soon as a test says so."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts.calls import Attempt, CallScope, ModelCall, Task, Usage, UsageRecord
from contracts.quotas import SharedTenant
from contracts.states import Priority
from endpoints.clocks import Clocks
from endpoints.sharing import Due
from orchestrators.quotas import merged
from policies.quotas.admission import Quotas
from policies.quotas.settings import QuotaSettings
from policies.quotas.tenant import Asked

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def loop_clocks(start: datetime = NOON) -> Clocks:
    """The loop's time, counted from `start`."""

    def seconds() -> float:
        return asyncio.get_running_loop().time()

    return Clocks(now=lambda: start + timedelta(seconds=seconds()), monotonic=seconds)


def call(model: str = "chat", *, tokens: int = 1) -> ModelCall:
    """Whose body tells of so many tokens."""
    body: Any = {"max_tokens": tokens - 1} if tokens > 1 else {}
    return ModelCall(model, Task.CHAT, body)


def asks(
    tenant: str = "t", *, batch: bool = False, patience: float = 0.0, flow: str | None = None
) -> CallScope:
    priority = Priority.BATCH if batch else Priority.REALTIME
    return CallScope("job-1", tenant, priority=priority, patience=patience, flow=flow)


def record(
    tenant: str = "t", *, tokens: int = 0, model: str = "chat", mirrored: bool = False
) -> UsageRecord:
    return UsageRecord(
        tenant=tenant,
        job_id="job-1",
        attempt=Attempt(
            model=model,
            deployment="d",
            outcome="answered",
            started_at=NOON,
            seconds=0.1,
            request_id="r",
            usage=Usage(output_tokens=tokens, requests=1),
        ),
        number=1,
        task=Task.CHAT,
        protocol="openai",
        request_bytes=1,
        response_bytes=1,
        mirrored=mirrored,
    )


def a_cent_a_token(told: UsageRecord) -> Decimal:
    return Decimal(told.attempt.usage.output_tokens) / 100


def quotas(clocks: Clocks | None = None, cost: Any = a_cent_a_token, **limits: Any) -> Quotas:
    """Of tenant `t`; another is not limited."""
    settings = QuotaSettings.model_validate(limits)
    return Quotas({"t": settings}, clocks=clocks or loop_clocks(), cost=cost)


@dataclass
class Hub:
    """The tenant's entity."""

    state: SharedTenant = field(default_factory=SharedTenant)
    away: bool = False

    def spent(self, budget: Any) -> int:
        return self.state.budgets[budget].spent


class Worker:
    """Exchanges with a hub when `exchange` is called, or every so often."""

    def __init__(self, hub: Hub, name: str, clocks: Clocks | None = None, **limits: Any) -> None:
        self.hub = hub
        self.quotas = quotas(clocks, **limits)
        self.sharing = self.quotas.share(name)["t"]

    def exchange(self) -> None:
        if self.sharing.look() is not Due.IDLE and not self.hub.away:
            self.hub.state = merged(self.hub.state, self.sharing.report())
            self.sharing.apply(self.hub.state)

    async def exchanges(self, every: float = 0.5) -> None:
        while True:
            await asyncio.sleep(every)
            self.exchange()

    async def call(self, tokens: int = 1, *, used: int | None = None, **scope: Any) -> Asked:
        """Made, answered at once, and using what it said."""
        asked = await self.quotas.reserve(call(tokens=tokens), asks(**scope))
        assert asked is not None
        told = record(tokens=tokens if used is None else used)
        self.quotas.meter(told)
        asked.settle(told.attempt.usage)
        return asked
