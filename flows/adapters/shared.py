"""What the flows of a process share, and how they build what is slow to build."""

from __future__ import annotations

import asyncio
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


class Once[T]:
    """A value built once, in a thread, when first asked for; a build that failed is repeated."""

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._building: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value. Raises what building it raised."""
        if self._building is None or _failed(self._building):
            self._building = asyncio.create_task(asyncio.to_thread(self._build))
        # Whoever gives up waiting leaves the build to the others.
        return await asyncio.shield(self._building)


def _failed[T](task: asyncio.Task[T]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
