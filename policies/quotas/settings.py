"""What a tenant may use: the `quotas` of tenants.yaml. What is not given is not limited."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from endpoints.protocols.common_settings import Settings

type Count = Annotated[int, Field(ge=1, le=10**15)]
type Money = Annotated[Decimal, Field(gt=0, le=10**12, max_digits=21, decimal_places=9)]
"""In the currency of the prices in deployments.yaml."""


class RateSettings(Settings):
    """Of any 60 seconds, across all workers."""

    requests_per_minute: Count | None = None
    """Calls of models: one counts once, however many deployments are asked for it."""
    tokens_per_minute: Count | None = None
    """Input and output together."""


class QuotaSettings(RateSettings):
    """All of them hold across all workers. A day and a month are those of UTC."""

    concurrent_jobs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """Jobs accepted and not ended."""
    tokens_per_day: Count | None = None
    tokens_per_month: Count | None = None
    money_per_day: Money | None = None
    money_per_month: Money | None = None
    models: frozenset[str] | None = None
    """Those that may be called; all when not given."""
    flows: frozenset[str] | None = None
    """Those that jobs, and chats in a model's place, may name; all when not given."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Of the turns that tenants' batch calls take while they wait for a deployment."""
    per_model: dict[str, RateSettings] = Field(default_factory=dict)
    """Beside the tenant's own rates: a call must keep to both."""


UNLIMITED = QuotaSettings()
