"""One call of a model: what a flow asks, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from contracts.states import Execution, Priority

type JsonObject = dict[str, JsonValue]


class Task(StrEnum):
    """What a model is asked to do; the shape of `ModelCall.payload` follows from it."""

    CHAT = "chat"
    """An OpenAI chat completions body, without `model`."""
    EMBEDDINGS = "embeddings"
    """An OpenAI embeddings body, without `model`."""
    SCORE = "score"
    """Whatever JSON the model's scoring script takes, passed on as it is."""


@dataclass(frozen=True, slots=True)
class ModelCall:
    """What a flow asks of a model, by the model's name in deployments.yaml."""

    model: str
    task: Task
    payload: JsonValue


class Usage(BaseModel):
    """What was consumed, as far as the endpoint reported it."""

    model_config = ConfigDict(extra="forbid")

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
    "answered", "throttled", "failed", "rejected", "unusable", "unknown", "not_connected"
]


class Attempt(BaseModel):
    """One HTTP request to one deployment, as the job's record shows it."""

    model_config = ConfigDict(extra="forbid")

    model: str
    deployment: str
    outcome: AttemptOutcome
    status: int | None = Field(default=None, description="HTTP status, when one came.")
    started_at: datetime
    seconds: float = Field(description="Wall time of the request, in seconds.")
    request_id: str = Field(description="Sent as x-ms-client-request-id / x-request-id.")
    reason: str | None = Field(default=None, description="Why it did not answer, in brief.")
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """A model's answer: the decoded JSON body and the attempt that brought it."""

    body: JsonValue
    attempt: Attempt


@dataclass(slots=True)
class CallScope:
    """Who asks, under which rules, and the attempts made so far on their behalf."""

    job_id: str
    tenant: str
    execution: Execution = Execution.AT_LEAST_ONCE
    priority: Priority = Priority.REALTIME
    deadline: datetime | None = None
    """Aware, UTC. No attempt is begun after it and none lasts beyond it."""
    attempts: list[Attempt] = field(default_factory=list)


type Invoke = Callable[[ModelCall], Awaitable[ModelAnswer]]
"""How a flow calls a model: `endpoints` bound to a scope. Raises NoCapacity or ModelCallError."""
