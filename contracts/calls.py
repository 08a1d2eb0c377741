"""One call of a model: what a flow asks, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, with_config

from contracts.states import Execution, Priority

type JsonObject = dict[str, JsonValue]


class Task(StrEnum):
    """What a model is asked to do; the shape of `ModelCall.payload` follows from it."""

    CHAT = "chat"
    """An OpenAI chat completions body, without `model`."""
    EMBEDDINGS = "embeddings"
    """An OpenAI embeddings body, without `model`."""
    RESPONSES = "responses"
    """A body of OpenAI's Responses API, without `model`."""
    SCORE = "score"
    """Whatever JSON the model's scoring script takes, passed on as it is."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """What a flow asks of a model, by the model's name in deployments.yaml."""

    model: str
    """`NAME`, or `NAME@PIN` for the deployments of one version, or for one deployment."""
    task: Task
    payload: JsonValue


@with_config(ConfigDict(extra="forbid"))
@dataclass(slots=True)
class Usage:
    """What was consumed, as far as the endpoint reported it."""

    input_tokens: int = 0
    output_tokens: int = 0
    requests: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            requests=self.requests + other.requests,
        )


AttemptOutcome = Literal[
    "answered",
    "throttled",
    "failed",
    "rejected",
    "unusable",
    "unknown",
    "not_connected",
    "cancelled",
    "pending",
]


@with_config(ConfigDict(extra="forbid"))
@dataclass(slots=True, kw_only=True)
class Attempt:
    """One HTTP request to one deployment, as the job's record shows it."""

    # No BaseModel: it would cost three times as much to make, with each call.
    model: str
    deployment: str
    version: str | None = None
    outcome: AttemptOutcome
    status: Annotated[int | None, Field(description="HTTP status, when one came.")] = None
    started_at: datetime
    seconds: Annotated[float, Field(description="Wall time of the request, in seconds.")]
    request_id: Annotated[str, Field(description="Sent as x-ms-client-request-id / x-request-id.")]
    reason: Annotated[str | None, Field(description="Why it did not answer, in brief.")] = None
    usage: Usage = field(default_factory=Usage)


@dataclass(slots=True)
class CallBegun:
    """A request is about to be sent: what is known of it if its end is never heard of."""

    tenant: str
    job_id: str
    model: str
    task: Task
    deployment: str
    protocol: str
    version: str | None
    started_at: datetime
    request_id: str
    """As in the `Attempt` that its UsageRecord will have."""
    request_bytes: int
    mirrored: bool
    flow: str | None = None
    of_batch: bool = False
    """Whether it is made for a line of a batch."""


type Joins = Callable[[CallBegun], Mapping[str, str]]
"""The headers by which a request joins a trace; called before it is sent, after `Begun`."""

type Begun = Callable[[CallBegun], None]
"""Takes each request before it is sent; quick, and raises nothing."""


@dataclass(slots=True)
class UsageRecord:
    """What one request to one deployment used: the raw material of chargeback."""

    tenant: str
    job_id: str
    attempt: Attempt
    """Model, deployment, version, outcome, seconds and tokens."""
    number: int
    """1 for the first request made on behalf of the job's step."""
    task: Task
    protocol: str
    request_bytes: int
    response_bytes: int
    finish_reasons: tuple[str, ...] = ()
    """Why the model stopped, as far as the protocol tells: `stop`, `length`, …"""
    mirrored: bool = False
    """Sent to a shadow deployment, for comparison: never billed."""
    flow: str | None = None
    """In whose run the request was made; None for a call without a flow."""


type Meter = Callable[[UsageRecord], None]
"""Takes each usage record as it arises; quick, and raises nothing."""

type Booked = Callable[[], Awaitable[None]]
"""Returns when every usage record so far is in storage, or storage has been away for a while."""


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A model's answer: the decoded JSON body and the attempt that brought it."""

    body: JsonValue
    attempt: Attempt


HandleState = Literal["sent", "begun", "answered", "lost", "failed"]


class CallHandle(BaseModel):
    """A call that a deployment works on beyond the step of the job that made it."""

    model_config = ConfigDict(extra="forbid")

    deployment: str
    name: str
    """What the deployment calls it."""
    state: HandleState
    """`sent`: it is not known whether it arrived; `lost`: it was not found then."""
    sent_at: datetime

    @property
    def held(self) -> bool:
        """Whether the deployment is the one to ask, and the call not to be begun again."""
        return self.state not in ("lost", "failed")

    @property
    def open(self) -> bool:
        """Whether the deployment may be working on it."""
        return self.state in ("sent", "begun")

    def __str__(self) -> str:
        return f"{self.deployment}/{self.name}"


@dataclass(slots=True)
class CallScope:
    """Who asks, under which rules, and the attempts made so far on their behalf."""

    job_id: str
    tenant: str
    execution: Execution = Execution.AT_LEAST_ONCE
    priority: Priority = Priority.REALTIME
    flow: str | None = None
    """In whose run the calls are made."""
    batch_id: str | None = None
    """Of the batch that the call is part of: while calls wait, batches of a tenant take turns."""
    weight: float = 1.0
    """Of the tenant, among those whose batch calls wait."""
    deadline: datetime | None = None
    """Aware, UTC. No attempt is begun after it and none lasts beyond it."""
    patience: float = 0.0
    """Seconds that a call may wait, holding a worker, for a deployment to have room. What takes
    longer ends as NoCapacity, and is the orchestrator's to wait for."""
    sticky_key: str | None = None
    """Calls with the same key go to the same deployment, while it takes them."""
    attempts: list[Attempt] = field(default_factory=list)
    handles: dict[str, CallHandle] = field(default_factory=dict)
    """Calls that take longer than a step, by their keys; the job keeps them from step to step."""
    key: str | None = None
    """Of the one call that this scope is for, where its model takes longer than a step."""
    seen: dict[str, int] = field(default_factory=dict)
    """How often a call of the same content has been made in this step."""
    waiting: bool = False
    """Whether a call waits for a deployment to have room: nothing is lost when it is ended now."""


type Invoke = Callable[[ModelCall], Awaitable[ModelAnswer]]
"""How a flow calls a model: `endpoints` bound to a scope.

Raises NoCapacity, CallPending or ModelCallError.
"""
