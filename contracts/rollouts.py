"""A rollout: weight is shifted to a deployment in steps, and back when it does worse."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from contracts.sharing import Counts, standing_key

DEFAULT_STEPS = [5.0, 25.0, 50.0, 100.0]
MOST_STEPS = 20


def rollout_id(model: str) -> str:
    """A model has one rollout at a time: its id is made of the model's name."""
    return f"rollout-{standing_key(model)}"


class RolloutStatus(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    ROLLED_BACK = "rolled_back"
    CANCELLED = "cancelled"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        return self is not RolloutStatus.RUNNING


class RolloutRules(BaseModel):
    """When a step is passed, and when the rollout is undone."""

    model_config = ConfigDict(extra="forbid")

    steps: list[Annotated[float, Field(gt=0, le=100)]] = Field(
        default=DEFAULT_STEPS,
        min_length=1,
        max_length=MOST_STEPS,
        description="Percent of the calls of its priority, one after the other; ascending.",
    )
    step_seconds: Annotated[float, Field(ge=1, le=86_400)] = Field(
        default=300, description="How long a step lasts, at least."
    )
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.05,
        description="Share of failed calls, and of throttled ones, that is borne; beyond it the"
        " rollout is undone, unless the other deployments do no better.",
    )
    max_latency_ratio: Annotated[float, Field(ge=1, le=100)] = Field(
        default=1.5, description="Latency beside that of the others, mean and 95th percentile."
    )
    min_calls: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=20, description="Calls before a step is judged; with fewer it lasts longer."
    )

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: list[float]) -> list[float]:
        if any(later <= earlier for earlier, later in pairwise(steps)):
            raise ValueError("percentages in ascending order")
        return steps


class RolloutRequest(RolloutRules):
    """The body of `POST /v1/rollouts`."""

    model: str = Field(min_length=1, description="A model of deployments.yaml.")
    to: str = Field(min_length=1, description="The deployment that is to take its calls.")


class RolloutSide(BaseModel):
    """How one side did during a step."""

    model_config = ConfigDict(extra="forbid")

    calls: int
    error_rate: float
    throttle_rate: float
    mean_seconds: float
    p95_seconds: float

    @classmethod
    def of(cls, counts: Counts) -> RolloutSide:
        return cls(
            calls=counts.calls,
            error_rate=counts.error_rate,
            throttle_rate=counts.throttle_rate,
            mean_seconds=counts.mean,
            p95_seconds=counts.percentile(95),
        )


class RolloutStep(BaseModel):
    """A step, as far as it has come."""

    model_config = ConfigDict(extra="forbid")

    percent: float
    began_at: datetime
    ended_at: datetime | None = None
    new: RolloutSide | None = Field(default=None, description="The deployment that is rolled out.")
    others: RolloutSide | None = Field(
        default=None, description="Those of its priority; in the last step as they did before."
    )


class RolloutRecord(BaseModel):
    """A rollout as the API shows it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    object: Literal["rollout"] = "rollout"
    status: RolloutStatus
    model: str
    to: str
    rules: RolloutRules
    started_at: datetime
    ended_at: datetime | None = None
    steps: list[RolloutStep] = []
    weights: dict[str, float] = Field(
        default={}, description="In force now, of the deployments concerned."
    )
    reason: str | None = Field(default=None, description="Why it ended, or why a step goes on.")


class RolloutTicket(BaseModel):
    """The orchestration's input; it is carried from check to check."""

    model_config = ConfigDict(extra="forbid")

    record: RolloutRecord
    before: dict[str, float]
    """Weights in force before, of the deployment and the others of its priority."""
    overrides: dict[str, float | None]
    """What of these an operator had set before: what to go back to."""
    step: int = -1
    """The one under way."""
    marks: dict[str, Counts] = {}
    """The deployments' totals from which they are judged now."""
    marked_at: datetime | None = None
    """When these were read; None while the step's weights are on their way."""
    baseline: Counts | None = None
    """How the others did when they were last judged."""
    passed: bool = False
    """Whether it has been found good in this step."""
    tenant: str | None = None
    """Of who started it, for the audit log."""
