"""Work that is ready to be given out, ordered by age, and what a worker wants of it."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from enum import StrEnum

from devhost.task_hub.durable.proto import pb


class Kind(StrEnum):
    """What a work item is for."""

    TURN = "orchestration"
    ACTIVITY = "activity"
    ENTITY = "entity"


type Key = int | str
"""An instance's number, an activity's sequence number or an entity's id."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One thing to do. Older offers (smaller `order`) go first."""

    kind: Kind
    key: Key
    name: str
    version: str | None
    order: int
    lost: int = 0
    """How often a worker was lost with it."""


class WorkFilter:
    """The names and versions that a worker takes, as its GetWorkItems call lists them."""

    def __init__(self, request: pb.GetWorkItemsRequest) -> None:
        self._names: dict[Kind, dict[str, frozenset[str]]] | None = None
        if request.HasField("workItemFilters"):
            filters = request.workItemFilters
            self._names = {
                Kind.TURN: _versions((f.name, f.versions) for f in filters.orchestrations),
                Kind.ACTIVITY: _versions((f.name, f.versions) for f in filters.activities),
                # Entity ids carry the name in lower case, whatever its author wrote.
                Kind.ENTITY: {f.name.lower(): frozenset() for f in filters.entities},
            }

    def wants(self, kind: Kind, name: str, version: str | None) -> bool:
        """No filters want everything; a listed name without versions wants every version."""
        if self._names is None:
            return True
        versions = self._names[kind].get(name)
        return versions is not None and (not versions or (version or "") in versions)


def _versions(listed: object) -> dict[str, frozenset[str]]:
    names: dict[str, frozenset[str]] = {}
    for name, versions in listed:  # type: ignore[attr-defined]
        names[name] = names.get(name, frozenset()) | frozenset(versions)
    return names


class ReadyQueue:
    """Offers of one kind. One heap a name and version, so that a filter costs no search."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self._heaps: dict[tuple[str, str | None], list[tuple[int, int, Offer]]] = {}
        self._count = 0

    def __bool__(self) -> bool:
        return bool(self._heaps)

    def push(self, offer: Offer) -> None:
        self._count += 1
        heap = self._heaps.setdefault((offer.name, offer.version), [])
        heapq.heappush(heap, (offer.order, self._count, offer))

    def pop(self, wanted: WorkFilter) -> Offer | None:
        """The oldest offer that is wanted."""
        matching = [name for name in self._heaps if wanted.wants(self.kind, *name)]
        if not matching:
            return None
        oldest = min(matching, key=lambda name: self._heaps[name][0][:2])
        heap = self._heaps[oldest]
        offer = heapq.heappop(heap)[2]
        if not heap:
            del self._heaps[oldest]
        return offer
