"""What every task hub is, and which one the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub listens and how it hands out work."""

    port: int = 0
    """On 127.0.0.1; 0 takes a free one."""
    threads: int = 1024
    """Each work item stream and each wait for an instance holds one thread while it lasts."""
    redelivery_seconds: float = 15.0
    """How long a worker that went away may still complete what it holds, before others get it."""


class Hub(Protocol):
    """The durable task gRPC service (`TaskHubSidecarService`) on a local port."""

    def start(self) -> str:
        """Bind and serve in background threads. Returns `host:port`; OSError if it is taken."""
        ...

    def stop(self, grace: float | None = None) -> None:
        """Stop serving; calls that run get `grace` seconds. Blocks until stopped."""
        ...


def open_hub(settings: HubSettings) -> Hub:
    """The hub for these settings, not started yet. Today there is one kind: in memory."""
    from devhost.task_hub.memory import InMemoryHub

    return InMemoryHub(settings)
