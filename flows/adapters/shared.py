"""What the flows of a process share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from flows.adapters.model_gateway import ModelGateway

type Redact = Callable[[str], Awaitable[str]]
"""Gives back a rendered prompt as it may be sent to a model."""


async def unchanged(prompt: str) -> str:
    """The hook that redacts nothing."""
    return prompt


@dataclass(frozen=True, slots=True)
class Shared:
    """Handed to every adapter."""

    gateway: ModelGateway = field(default_factory=ModelGateway)
    redact: Redact = unchanged
