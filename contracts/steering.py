"""How operators steer deployments, and what they are shown of one across workers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from contracts.deployments import DeploymentStatus
from contracts.sharing import Counts, LimitName


class Override(BaseModel):
    """What an operator wants of a deployment, instead of what deployments.yaml declares.

    A field that is left out stays as it is; null goes back to what is declared.
    """

    model_config = ConfigDict(extra="forbid")

    weight: Annotated[float, Field(ge=0, le=1000)] | None = Field(
        default=None,
        description="Share among deployments of the same priority; 0 takes no calls."
        " null: as declared.",
    )
    priority: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Lower is asked first. null: as declared."
    )


type Overrides = dict[str, Override]
"""By deployment."""


class LimitShare(BaseModel):
    """A limit at one worker."""

    model_config = ConfigDict(extra="forbid")

    whole: int = Field(description="As configured, across all workers.")
    share: int = Field(description="What this worker may use.")
    held: int = Field(description="What it may still be using; the rest is free for others.")


class DeploymentWorker(BaseModel):
    """A worker that uses the deployment's model."""

    model_config = ConfigDict(extra="forbid")

    worker: str
    seen_at: datetime
    demand: float = Field(description="Calls under way, waiting, and that came in a second.")
    limits: dict[LimitName, LimitShare]


class Totals(BaseModel):
    """Calls at all workers, since the deployment was first used."""

    model_config = ConfigDict(extra="forbid")

    calls: int
    failures: int
    throttled: int
    mean_seconds: float
    p95_seconds: float

    @classmethod
    def of(cls, counts: Counts) -> Totals:
        return cls(
            calls=counts.calls,
            failures=counts.failures,
            throttled=counts.throttled,
            mean_seconds=counts.mean,
            p95_seconds=counts.percentile(95),
        )


class DeploymentDetail(BaseModel):
    """A deployment as the answering worker knows it, and what all workers share of it."""

    model_config = ConfigDict(extra="forbid")

    deployment: DeploymentStatus
    override: Override
    totals: Totals
    workers: list[DeploymentWorker]
