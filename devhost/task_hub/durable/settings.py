"""What can be chosen when a durable hub is started."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Synchronous = Literal["normal", "full"]


@dataclass(frozen=True, slots=True)
class HubSettings:
    """Where the hub keeps its state, where it listens, and how it hands out work."""

    state: Path
    """The directory of the database. One hub at a time may use it."""
    port: int = 0
    """On 127.0.0.1; 0 takes a free one."""
    synchronous: Synchronous = "normal"
    """What a commit survives: "normal" the end of any process, "full" a power cut too."""
    redelivery_seconds: float = 0.0
    """How long the work of a worker whose stream ended is kept back before others get it."""
    turn_timeout_seconds: float = 300.0
    """A turn of an orchestration or entity unanswered for so long is given out again; 0: never."""
    activity_timeout_seconds: float = 0.0
    """The same for activities. 0, the default, waits as long as the worker's stream lives."""
    max_deliveries: int = 10
    """An item whose workers were lost this many times fails with a reason; 0: never."""
    history_cache_bytes: int = 64 * 1024 * 1024
    """Histories of running orchestrations kept in memory; the rest is read when needed."""
    stream_history_bytes: int = 1024 * 1024
    """Longer histories are streamed to the workers that say they can take them so."""
