"""What a sweep asks of the durable engine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from contracts.jobs import AcceptedJob
from contracts.stuck import Nudge
from policies.stuck.rules import Looked


@dataclass(frozen=True, slots=True)
class Seen:
    """One orchestration of a list."""

    id: str
    begun: bool
    """A worker has taken it up."""
    updated_at: datetime


class Engine(Protocol):
    """Methods raise DependencyUnavailable when the engine cannot be reached."""

    async def under_way(self) -> list[Seen]:
        """Jobs, batches and lanes of batches that have not ended."""

    async def faulted(self, since: datetime) -> list[Seen]:
        """Jobs and batches created since then whose orchestration failed."""

    async def look(self, instance: str) -> Looked | None:
        """One of them; None when it has ended, or is not known."""

    async def knows(self, instance: str) -> bool:
        """Whether it was ever started, and is remembered."""

    async def nudge(self, job_id: str, nudge: Nudge) -> None:
        """Tell a job's orchestration; it may end before it hears."""

    async def restart(self, job_id: str) -> None:
        """Begin a failed orchestration anew, with the input that it had."""

    async def start(self, job: AcceptedJob) -> None:
        """Begin the orchestration of a job that has none."""
