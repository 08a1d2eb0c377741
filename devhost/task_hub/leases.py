"""Work handed to a worker and not answered yet, so that none is lost with the worker."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from itertools import count

from durabletask.internal import orchestrator_service_pb2 as pb


@dataclass(frozen=True, slots=True)
class Lease:
    """One work item in a worker's hands. `token` is what the hub itself knows it by."""

    stream: object
    token: str
    item: pb.WorkItem


class Leases:
    """Leases by the ticket that the worker answers with. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, Lease] = {}
        self._numbers = count(1)

    def grant(self, stream: object, item: pb.WorkItem) -> None:
        """Note the item as handed out on `stream`, its ticket in place of its completion token.

        The in-memory hub gives all activities of one turn the same token, and a redelivered
        orchestration the token of its first delivery: neither says which delivery is answered.
        """
        ticket = f"{next(self._numbers)}"
        lease = Lease(stream, item.completionToken, item)
        item.completionToken = ticket
        with self._lock:
            self._held[ticket] = lease

    def take(self, ticket: str) -> Lease | None:
        """End a lease; None if it has ended before (answered, handed back or expired)."""
        with self._lock:
            return self._held.pop(ticket, None)

    def held_on(self, stream: object) -> list[str]:
        """The tickets of what was handed out on a stream and is not answered yet."""
        with self._lock:
            return [ticket for ticket, lease in self._held.items() if lease.stream is stream]

    def forget(self) -> None:
        with self._lock:
            self._held.clear()
