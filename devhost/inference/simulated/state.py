"""What a deployment tells of itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydantic import TypeAdapter

from devhost.inference.simulated.behaviour import Behaviour


@dataclass(slots=True)
class Counts:
    """Requests by what became of them; one that is still inside has only arrived.

    Requests that could not be read (400, 404, 405, 413) and health are not counted.
    """

    arrived: int = 0
    answered: int = 0
    refused: int = 0
    """429 of the capacity or of a rate limit."""
    abandoned: int = 0
    """The client closed before its answer was due."""
    failed: dict[str, int] = field(default_factory=dict)
    """By failure: its status, or hang, drop, garbage, slow_body. It counts once it shows and the
    request has ended."""


@dataclass(frozen=True, slots=True)
class State:
    name: str
    behaviour: Behaviour
    in_flight: int
    most_in_flight: int
    """Since the counts were reset."""
    arrived_since_change: int
    """Requests since the behaviour changed; that a failure healed is such a change."""
    counts: Counts


STATE: TypeAdapter[State] = TypeAdapter(State)
