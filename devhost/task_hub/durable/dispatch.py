"""Who does what: gives ready work to workers, within their limits, and takes it back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from devhost.task_hub.durable.clock import Alarms, Clock
from devhost.task_hub.durable.proto import pb
from devhost.task_hub.durable.ready import Key, Kind, Offer, ReadyQueue
from devhost.task_hub.durable.settings import HubSettings
from devhost.task_hub.durable.workers import Lease, Worker

SUSPECT_AFTER = 2
"""What took this many workers with it is given out alone, so that it harms no other work."""

ABANDON_PAUSE_SECONDS = 0.2
"""Before abandoned work is given out again, so that who abandons at once does not spin."""


_PING: bytes = pb.WorkItem(healthPing=pb.HealthPing()).SerializeToString()


class Handler(Protocol):
    """Who knows the work of one kind."""

    def begin(self, key: Key, token: str, worker: Worker) -> bytes | None:
        """The serialized work item; None when there is nothing to do any more."""
        ...

    def release(self, key: Key, token: str, lost: bool) -> None:
        """The work was not done. `lost`: its worker went away or did not answer in time."""
        ...


class Dispatcher:
    """Ready work, workers and leases. None of these is durable: a restart gives all out again."""

    def __init__(self, boot: int, clock: Clock, settings: HubSettings) -> None:
        self._boot = boot
        self._clock = clock
        self._settings = settings
        self._handlers: dict[Kind, Handler] = {}
        self._ready = {kind: ReadyQueue(kind) for kind in Kind}
        self._suspects = {kind: ReadyQueue(kind) for kind in Kind}
        self._workers: list[Worker] = []
        self._leases: dict[Kind, dict[str, Lease]] = {kind: {} for kind in Kind}
        self._deliveries = 0
        self.pauses: Alarms[float] = Alarms()
        """Steady-clock alarms, for everything that waits only for workers."""

    def serve(self, kind: Kind, handler: Handler) -> None:
        self._handlers[kind] = handler

    def connect(self, request: pb.GetWorkItemsRequest, wake: Callable[[], None]) -> Worker:
        """A worker asks for work."""
        worker = Worker.of(request, wake)
        self._workers.append(worker)
        return worker

    def disconnect(self, worker: Worker) -> None:
        """Its stream ended: what it holds is given out again, at once or after the set delay."""
        self._workers.remove(worker)
        tokens = [token for held in worker.held.values() for token in held]
        delay = self._settings.redelivery_seconds
        if delay:
            self.pauses.set(self._clock.steady() + delay, lambda: self._lose(tokens))
        else:
            self._lose(tokens)

    def _lose(self, tokens: list[str]) -> None:
        for token in tokens:
            lease = self.settle(token)
            if lease is not None:
                self._handlers[lease.kind].release(lease.key, token, lost=True)

    def ping(self) -> None:
        """Put a health ping into every empty outbox."""
        for worker in self._workers:
            if not worker.outbox:
                worker.outbox.append(_PING)
                worker.wake()

    def offer(self, offer: Offer) -> None:
        """This is ready to be done."""
        queues = self._suspects if offer.lost >= SUSPECT_AFTER else self._ready
        queues[offer.kind].push(offer)

    def settle(self, token: str, kind: Kind | None = None) -> Lease | None:
        """The lease of this token, which ends now; None when there is none (any more)."""
        for leased in self._leases if kind is None else (kind,):
            lease = self._leases[leased].pop(token, None)
            if lease is not None:
                lease.worker.held[leased].discard(token)
                lease.worker.took(leased, self._clock.steady() - lease.since)
                if lease.suspect:
                    lease.worker.suspect = False
                return lease
        return None

    def abandon(self, token: str) -> bool:
        """The worker hands this work back undone; False when it had been taken from it before."""
        lease = self.settle(token)
        if lease is None:
            return False
        self.pauses.set(
            self._clock.steady() + ABANDON_PAUSE_SECONDS,
            lambda: self._handlers[lease.kind].release(lease.key, token, lost=False),
        )
        return True

    def expire(self) -> None:
        """Take back what was held for longer than its kind allows."""
        now = self._clock.steady()
        for kind, leases in self._leases.items():
            allowed = (
                self._settings.activity_timeout_seconds
                if kind is Kind.ACTIVITY
                else self._settings.turn_timeout_seconds
            )
            while allowed and leases:
                oldest = next(iter(leases.values()))
                if now - oldest.since < allowed:
                    break
                self._lose([oldest.token])

    def pump(self) -> None:
        """Give out as much as the workers have room for, to the least busy ones first."""
        for queues in (self._suspects, self._ready):
            for queue in queues.values():
                while queue and self._give_one(queue, queues is self._suspects):
                    pass

    def _give_one(self, queue: ReadyQueue, alone: bool) -> bool:
        kind = queue.kind
        free = [w for w in self._workers if w.has_room(kind) and not (alone and w.suspect)]
        if len(free) > 1:
            free.sort(key=lambda worker: len(worker.held[kind]))
        for worker in free:
            offer = queue.pop(worker.filter)
            if offer is not None:
                self._give(offer, worker, alone)
                return True
        return False

    def _give(self, offer: Offer, worker: Worker, alone: bool) -> None:
        self._deliveries += 1
        token = f"{self._boot}-{self._deliveries}-{offer.key}"
        item = self._handlers[offer.kind].begin(offer.key, token, worker)
        if item is None:
            return
        lease = Lease(token, offer.kind, offer.key, worker, self._clock.steady(), alone)
        self._leases[offer.kind][token] = lease
        worker.held[offer.kind].add(token)
        worker.suspect = worker.suspect or alone
        worker.outbox.append(item)
        worker.wake()


def activity_of(token: str) -> int | None:
    """The sequence number in an activity's completion token; None when it is no such token."""
    try:
        return int(token.rpartition("-")[2])
    except ValueError:
        return None
