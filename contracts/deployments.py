"""Deployments as an operator sees them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

DeploymentState = Literal[
    "ready",
    "full",
    "stalled",
    "cooling",
    "rate_limited",
    "open",
    "half_open",
    "unusable",
    "drained",
]


class Latency(BaseModel):
    """Seconds of the last answered calls."""

    model_config = ConfigDict(extra="forbid")

    p50: float
    p95: float
    p99: float


class DeploymentStatus(BaseModel):
    """One deployment as the answering worker knows it; breaker, cooldown and weight are shared."""

    model_config = ConfigDict(extra="forbid")

    model: str
    name: str
    protocol: str
    version: str | None
    region: str | None
    priority: int
    weight: float
    state: DeploymentState
    until: datetime | None = Field(
        default=None, description="When a call may be taken again, where that is known."
    )
    limit: int = Field(description="Calls at once, as found out so far.")
    in_flight: int
    waiting: int = Field(description="Calls that wait for a slot at the model.")
    requests_last_minute: int | None = Field(default=None, description="Where a limit is set.")
    tokens_last_minute: int | None = Field(default=None, description="Where a limit is set.")
    latency: Latency
    outcomes: dict[str, int] = Field(description="Calls by how they ended, since the start.")
    last_reason: str | None = Field(default=None, description="Why the last failing call failed.")
    last_reason_at: datetime | None = None


class DeploymentList(BaseModel):
    """All deployments of all models."""

    model_config = ConfigDict(extra="forbid")

    deployments: list[DeploymentStatus]


class Side(BaseModel):
    """One of the two answers of a comparison, without any content."""

    model_config = ConfigDict(extra="forbid")

    deployment: str
    outcome: str
    status: int | None
    seconds: float
    input_tokens: int
    output_tokens: int


class Comparison(BaseModel):
    """A call that was mirrored: how the shadow did beside the deployment that answered."""

    model_config = ConfigDict(extra="forbid")

    model: str
    at: datetime
    live: Side
    shadow: Side
    similarity: float | None = Field(
        default=None, ge=0, le=1, description="Of the two answers; null when one has none."
    )
