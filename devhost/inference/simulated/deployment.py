"""One deployment: what becomes of each request under the behaviour of its moment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from random import Random

from devhost.inference.simulated.answers import Asked, answer, completion_tokens
from devhost.inference.simulated.behaviour import Behaviour, checked
from devhost.inference.simulated.failures import Failure, Hang, draw
from devhost.inference.simulated.rate_limit import RateLimit
from devhost.inference.simulated.reply import DEPLOYMENT, Reply, error
from devhost.inference.simulated.state import Counts, State


class Deployment:
    """Begins with the default behaviour. Needs a running loop."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.behaviour = Behaviour()
        self.counts = Counts()
        self.in_flight = 0
        self.most_in_flight = 0
        self._arrived_since_change = 0
        self._random = random
        self._loop = asyncio.get_running_loop()
        self._answers = 0
        self._workers: asyncio.Semaphore | None = None
        self._rates: list[tuple[RateLimit, bool]] = []
        self._healing: list[asyncio.TimerHandle] = []
        self._changed = asyncio.Event()

    def set(self, behaviour: Behaviour) -> None:
        """Behave so from now on; what is inside ends as it began.

        Line and rate limits go on where their numbers stay the same. Raises pydantic's
        ValidationError when a value is out of bounds.
        """
        behaviour = checked(behaviour)
        self.close()
        self._healing = [
            self._loop.call_later(failure.seconds, self._heal, failure)
            for failure in behaviour.failures
            if failure.seconds is not None
        ]
        before = self.behaviour
        if behaviour.workers != before.workers:
            self._workers = asyncio.Semaphore(behaviour.workers) if behaviour.workers else None
        if _limits(behaviour) != _limits(before):
            self._rates = _rates(behaviour, self._loop.time())
        self._change(behaviour)

    def reset_counts(self) -> None:
        """Count from zero; what is inside still counts where it began."""
        self.counts = Counts()
        self.most_in_flight = self.in_flight

    def close(self) -> None:
        """Let nothing heal any more."""
        for timer in self._healing:
            timer.cancel()

    def state(self) -> State:
        counts = replace(self.counts, failed=dict(self.counts.failed))
        return State(
            name=self.name,
            behaviour=self.behaviour,
            in_flight=self.in_flight,
            most_in_flight=self.most_in_flight,
            arrived_since_change=self._arrived_since_change,
            counts=counts,
        )

    def arrive(self, asked: Asked) -> Course | Reply:
        """Let a request in, or refuse it."""
        behaviour = self.behaviour
        self.counts.arrived += 1
        self._arrived_since_change += 1
        if (refusal := self._refusal(asked, behaviour)) is not None:
            self.counts.refused += 1
            return refusal
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self._answers += 1
        reply = answer(self.name, asked, behaviour.completion_tokens, self._answers)
        failure = draw(behaviour.failures, self._random.random()) if behaviour.failures else None
        if failure is not None and failure.after_ms is not None:
            return Course(self, self.counts, reply, failure, failure.after_ms / 1_000, None)
        seconds = behaviour.latency.at(self._share()) / 1_000
        return Course(self, self.counts, reply, failure, seconds, self._workers)

    def health(self) -> Reply:
        """Not counted, and never late."""
        named = ((DEPLOYMENT, self.name),)
        if draw(self.behaviour.failures, self._random.random()) is not None:
            return error(503, "A failure was drawn.", named)
        return Reply(b'{"status": "healthy"}', headers=named)

    async def ended(self, failure: Failure) -> None:
        """Until the failure has healed or is taken away."""
        while any(each is failure for each in self.behaviour.failures):
            await self._changed.wait()

    def _share(self) -> float:
        """Uniform, and neither 0 nor 1."""
        return (self._random.getrandbits(52) + 0.5) / (1 << 52)

    def _refusal(self, asked: Asked, behaviour: Behaviour) -> Reply | None:
        if behaviour.capacity is not None and self.in_flight >= behaviour.capacity:
            seconds = behaviour.retry_after.seconds if behaviour.retry_after else 0
            return self._too_many(behaviour, seconds, "Too many pending requests.")
        if not self._rates:
            return None
        now = self._loop.time()
        tokens = asked.prompt_tokens + completion_tokens(asked, behaviour.completion_tokens)
        costs = [(rate, tokens if by_token else 1) for rate, by_token in self._rates]
        if (wait := max(rate.wait(cost, now) for rate, cost in costs)) > 0:
            return self._too_many(behaviour, wait, "The rate limit is reached.")
        for rate, cost in costs:
            rate.take(cost)
        return None

    def _too_many(self, behaviour: Behaviour, seconds: float, message: str) -> Reply:
        said = (behaviour.retry_after.line(seconds),) if behaviour.retry_after else ()
        return error(429, message, ((DEPLOYMENT, self.name), *said))

    def _heal(self, failure: Failure) -> None:
        left = tuple(each for each in self.behaviour.failures if each is not failure)
        self._change(replace(self.behaviour, failures=left))

    def _change(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self._arrived_since_change = 0
        self._changed.set()
        self._changed = asyncio.Event()


@dataclass(slots=True, eq=False)
class Course:
    """What was drawn for one request when it was let in. Must be ended."""

    deployment: Deployment
    counts: Counts
    reply: Reply
    """The answer, if nothing fails."""
    failure: Failure | None
    seconds: float
    workers: asyncio.Semaphore | None
    shown: bool = False
    """Whether the failure has come to light."""
    ended: bool = False

    @property
    def at_once(self) -> bool:
        return not self.seconds and self.failure is None and self.workers is None

    async def due(self) -> None:
        """Until something is to be sent."""
        if self.workers is None:
            await asyncio.sleep(self.seconds)
        else:
            async with self.workers:
                await asyncio.sleep(self.seconds)
        self.shown = self.failure is not None
        if isinstance(self.failure, Hang):
            await self.deployment.ended(self.failure)

    def end(self, *, answered: bool) -> None:
        """The request has left: with all that was to be sent, or its client has gone. Only the
        first word counts."""
        if self.ended:
            return
        self.ended = True
        self.deployment.in_flight -= 1
        if self.failure is not None and self.shown:
            kind = self.failure.kind if self.failure.kind != "status" else str(self.failure.status)
            self.counts.failed[kind] = self.counts.failed.get(kind, 0) + 1
        elif answered:
            self.counts.answered += 1
        else:
            self.counts.abandoned += 1


def _limits(behaviour: Behaviour) -> tuple[float | None, ...]:
    return behaviour.requests_per_minute, behaviour.tokens_per_minute, behaviour.burst_seconds


def _rates(behaviour: Behaviour, now: float) -> list[tuple[RateLimit, bool]]:
    """The limits that are set, and whether each is one of tokens."""
    rates = ((behaviour.requests_per_minute, False), (behaviour.tokens_per_minute, True))
    return [
        (RateLimit(per_minute, behaviour.burst_seconds, now), by_token)
        for per_minute, by_token in rates
        if per_minute is not None
    ]
