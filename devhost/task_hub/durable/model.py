"""What the hub keeps in memory: running orchestrations, and work that waits.

Everything here has its row in the database; nothing else about a row is needed to go on.
Times are microseconds since the epoch.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum


class Status(IntEnum):
    """OrchestrationStatus of the protocol."""

    RUNNING = 0
    COMPLETED = 1
    CONTINUED_AS_NEW = 2
    FAILED = 3
    CANCELED = 4
    TERMINATED = 5
    PENDING = 6
    SUSPENDED = 7

    @property
    def ended(self) -> bool:
        return self in ENDED


COMMITTING = ""
"""In place of a token: the answer came and is being written; the next work item must wait."""

ENDED = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED, Status.TERMINATED})

SURVIVES_CONTINUE_AS_NEW = frozenset(
    {"eventRaised", "executionSuspended", "executionResumed", "executionTerminated"}
)
"""Kinds of events that are for the instance; all others answer to one execution of it."""

WAKES_SUSPENDED = frozenset({"executionResumed", "executionTerminated"})

RESULTS = frozenset(
    {
        "taskCompleted",
        "taskFailed",
        "subOrchestrationInstanceCompleted",
        "subOrchestrationInstanceFailed",
    }
)
"""Kinds of events of which a fan-out brings many at once."""


@dataclass(slots=True)
class Message:
    """An event that waits for its orchestration's next turn."""

    seq: int
    kind: str
    """The name of the HistoryEvent's `eventType`."""
    event: bytes


@dataclass(frozen=True, slots=True)
class Parent:
    """Who waits for a sub-orchestration, and under which task id."""

    num: int
    execution: str
    task: int
    instance_id: str


@dataclass(slots=True)
class Instance:
    """An orchestration that has not ended. Input, output and failure are only in the database."""

    num: int
    """The row's number. An id that is used again gets another one."""
    id: str
    name: str
    version: str | None
    execution: str
    """Changes with every continue-as-new; answers to an earlier execution are dropped."""
    status: Status
    created: int
    scheduled: int | None = None
    """When it is to start; None once that time has come."""
    parent: Parent | None = None
    tags: dict[str, str] = field(default_factory=dict)
    trace: bytes = b""
    """The OrchestrationTraceContext that the last turn returned."""

    inbox: deque[Message] = field(default_factory=deque)
    token: str | None = None
    """The completion token of the turn that is out, None when none is, or COMMITTING."""
    taken: list[Message] = field(default_factory=list)
    """The events of the turn that is out."""
    activities: int = 0
    """Activities of this execution that have not ended."""
    children: set[int] = field(default_factory=set)
    """Sub-orchestrations that have not ended."""
    timers: set[int] = field(default_factory=set)
    locking: bool = False
    """Whether it asked for entity locks, and so may hold some when it ends."""
    history: list[bytes] | None = field(default_factory=list)
    """Results of `past_events`; None when they must be read first."""

    offered: bool = False
    lost: int = 0
    """How often the worker of the turn that is to be given out was lost."""
    last_turn: float = 0.0
    """Seconds that the last turn took."""
    first_result: float | None = None
    last_result: float = 0.0
    """Steady times of the first and last result that wait, not before the last turn's end."""
    pressing: bool = False
    """Whether something waits that is not a result, and so should not wait for more."""
    paused: bool = False
    """Whether an alarm is set for the end of the wait for more results."""

    @property
    def outstanding(self) -> int:
        """Results that are still to come."""
        return self.activities + len(self.children)


@dataclass(slots=True)
class Activity:
    """An activity that has been scheduled and has not ended."""

    seq: int
    num: int
    execution: str
    task: int
    name: str
    version: str | None
    request: bytes
    """A serialized ActivityRequest."""
    token: str | None = None
    lost: int = 0
    lost_token: str | None = None
    """Of the last delivery that was taken for lost with its worker."""


@dataclass(frozen=True, slots=True)
class Timer:
    """A durable timer of an orchestration, or a delayed signal to an entity."""

    seq: int
    due: int
    num: int | None = None
    task: int | None = None
    entity: str | None = None
    event: bytes = b""
    """For a signal: the serialized operation event."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A call or a signal that waits for its entity."""

    seq: int
    event: bytes
    request_id: str
    caller: int | None
    """The orchestration that waits for the answer; None for a signal."""
    execution: str | None


@dataclass(slots=True)
class Entity:
    """An entity with operations to do, or locked. Others are only in the database."""

    id: str
    section: str | None = None
    """The critical section that holds the lock."""
    owner: int | None = None
    """The orchestration that holds the lock."""
    operations: deque[Operation] = field(default_factory=deque)
    token: str | None = None
    taken: list[Operation] = field(default_factory=list)
    offered: bool = False
    lost: int = 0

    @property
    def idle(self) -> bool:
        return not (self.operations or self.taken or self.section is not None)


@dataclass(frozen=True, slots=True)
class LockRequest:
    """A critical section that waits until all of its entities are free."""

    seq: int
    section: str
    owner: int
    entities: tuple[str, ...]


@dataclass(slots=True)
class State:
    """All that is in memory. It is rebuilt from the database when the hub starts."""

    instances: dict[int, Instance] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    """Instance id to number, of those in `instances`."""
    activities: dict[int, Activity] = field(default_factory=dict)
    timers: dict[int, Timer] = field(default_factory=dict)
    entities: dict[str, Entity] = field(default_factory=dict)
    lock_requests: list[LockRequest] = field(default_factory=list)

    def find(self, instance_id: str) -> Instance | None:
        num = self.numbers.get(instance_id)
        return None if num is None else self.instances[num]

    def is_current(self, instance: Instance) -> bool:
        """Whether it is still there, neither ended and put away nor replaced."""
        return self.instances.get(instance.num) is instance
