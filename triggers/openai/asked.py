"""One real-time request, read."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from contracts.calls import CallScope, ModelCall, Task
from contracts.openai import ChatCompletionRequest, EmbeddingsRequest, ResponsesRequest
from contracts.quotas import RateStanding
from triggers.http import Request
from triggers.openai.headers import sticky_key
from wiring import Parts

PATIENCE_SECONDS = 10.0
"""How long a call waits for a deployment to have room before it is told to come back."""

type Body = ChatCompletionRequest | EmbeddingsRequest | ResponsesRequest


@dataclass(frozen=True, slots=True)
class Asked:
    """A body, who sent it, and what it is answered with."""

    req: Request
    parts: Parts
    hub: str
    """The durable client, as its text."""
    task: Task
    body: Body

    @property
    def call(self) -> ModelCall:
        return ModelCall(self.body.model, self.task, self.body.payload())

    @property
    def standing(self) -> list[RateStanding]:
        """How far its tenant is from the rates that hold for the call."""
        return self.parts.quotas.standing(self.req.identity.tenant, self.body.model)

    def scope(self) -> CallScope:
        """Of a call that its caller waits for. Raises InvalidRequest."""
        return CallScope(
            job_id=f"call_{secrets.token_hex(12)}",
            tenant=self.req.identity.tenant,
            patience=PATIENCE_SECONDS,
            sticky_key=sticky_key(self.req),
        )
