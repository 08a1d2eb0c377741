"""Deployments as routing knows them, a pool of them, and whole models, in virtual time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import wraps

from contracts.calls import CallScope, ModelAnswer, UsageRecord
from contracts.deployments import Comparison
from endpoints import Endpoints
from endpoints.clocks import Clocks
from endpoints.context import Context
from endpoints.deployment import Deployment
from endpoints.protocols.common_settings import DeploymentSettings
from endpoints.routing.pool import Pool, Taken, Visit
from endpoints.routing.standing import Refusal, Slot, Standing
from endpoints.settings import Settings
from endpoints.verdicts import Verdict
from endpoints.wire import Limits, NoReply, Reply, Request, Stream
from tests.unit.endpoints_fakes import CALL, NOON, at_least_once, reply
from tests.unit.virtual_time import run_in_virtual_time

FAILED = Verdict("failed", "HTTP 503")
HUNG = Verdict("unknown", "timed out waiting for the answer", may_have_run=True)
REFUSED = Verdict("not_connected", "connection refused")
REJECTED = Verdict("rejected", "HTTP 400")
UNUSABLE = Verdict("unusable", "HTTP 401")


def throttled(wait: float) -> Verdict:
    return Verdict("throttled", "HTTP 429", wait=wait)


class WatchedStanding(Standing):
    """Nothing may be sent to a deployment that refuses."""

    def begin(self, now: float, tokens: int = 0, *, batch: bool = False) -> Slot:
        refusal = self.refusal(now, tokens, batch=batch)
        assert refusal in (None, Refusal.STALLED, Refusal.UNUSABLE)
        assert self.calls_at_once.admits()
        assert self.breaker.admits(now)
        return super().begin(now, tokens, batch=batch)


def settings(name: str = "a", **fields: object) -> DeploymentSettings:
    return DeploymentSettings.model_validate({"name": name, "url": f"http://{name}/", **fields})


class Place:
    """A deployment without anything behind it."""

    def __init__(self, name: str = "a", **fields: object) -> None:
        declared = settings(name, **fields)
        self.name = declared.name
        self.version = declared.version
        self.region = declared.region
        self.priority = declared.priority
        self.weight = declared.weight
        self.standing = WatchedStanding(declared)

    def __repr__(self) -> str:
        return self.name


@dataclass
class Waited:
    """A pool of deployments, in the loop that runs."""

    pool: Pool[Place]

    @classmethod
    def of(cls, *places: Place) -> Waited:
        return cls(Pool(places, asyncio.get_running_loop().time))

    @property
    def now(self) -> float:
        return self.pool.clock()

    def visit(
        self, *wanted: Place, patience: float = 0.0, batch: bool = False, tokens: int = 0
    ) -> Visit[Place]:
        until = self.now + patience if patience else 0.0
        places = list(wanted or self.pool.deployments)
        return Visit(places, tokens=tokens, batch=batch, patient_until=until)

    async def take(
        self, *wanted: Place, patience: float = 0.0, batch: bool = False, tokens: int = 0
    ) -> Taken[Place] | None:
        return await self.pool.take(
            self.visit(*wanted, patience=patience, batch=batch, tokens=tokens)
        )

    async def slot(self, *wanted: Place) -> Taken[Place]:
        taken = await self.take(*wanted)
        assert taken is not None
        return taken

    def answer(self, taken: Taken[Place], tokens: int = 0) -> None:
        taken.deployment.standing.answered(taken.slot, self.now, tokens)

    def end(self, taken: Taken[Place], verdict: Verdict) -> None:
        taken.deployment.standing.ended(taken.slot, verdict, self.now)

    def let_go(self, taken: Taken[Place], *, used: bool = True) -> None:
        taken.deployment.standing.let_go(taken.slot, self.now, used=used)


@dataclass
class Answer:
    """What a deployment does with a request: this, after so many seconds."""

    seconds: float = 0.0
    reply: Reply | NoReply = field(default_factory=reply)


@dataclass
class TimedWire:
    """Deployments by their hosts, each of which plays its script, then `otherwise` for ever."""

    otherwise: Answer = field(default_factory=Answer)
    script: dict[str, deque[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def plays(self, **script: list[Answer]) -> None:
        self.script = {host: deque(answers) for host, answers in script.items()}

    async def send(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Reply | NoReply:
        host = request.url.host or ""
        self.asked.append(host)
        script = self.script.get(host)
        answer = script.popleft() if script else self.otherwise
        try:
            await asyncio.sleep(min(answer.seconds, limits.seconds))
        except asyncio.CancelledError:
            self.cancelled.append(host)
            raise
        if answer.seconds > limits.seconds:
            return NoReply(sent=True, reason="timed out waiting for the answer")
        return answer.reply

    async def open(
        self, request: Request, headers: Mapping[str, str], limits: Limits
    ) -> Stream | Reply | NoReply:
        raise AssertionError("no stream was to be opened")

    async def aclose(self) -> None:
        pass


@dataclass
class Town:
    """One model `m` whose deployments a wire plays, in the loop that runs."""

    wire: TimedWire
    endpoints: Endpoints
    records: list[UsageRecord]
    comparisons: list[Comparison]

    @classmethod
    def of(
        cls, *deployments: dict[str, object], region: str | None = None, **model: object
    ) -> Town:
        """Each deployment is an aml_online one, unless it says otherwise."""
        loop, records, comparisons = asyncio.get_running_loop(), [], []
        declared = [
            {"protocol": "aml_online", "url": f"http://{each['name']}/score", **each}
            for each in deployments
        ]
        settings = Settings.model_validate({"models": {"m": {"deployments": declared, **model}}})
        clocks = Clocks(now=lambda: NOON + timedelta(seconds=loop.time()), monotonic=loop.time)
        context = Context(clocks, meter=records.append, compared=comparisons.append, region=region)
        wire = TimedWire()
        return cls(wire, Endpoints(settings, wire=wire, context=context), records, comparisons)

    @property
    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def place(self, name: str) -> Deployment:
        [model] = self.endpoints._models.values()
        [found] = [each for each in model.deployments if each.name == name]
        return found

    def in_flight(self) -> dict[str, int]:
        [model] = self.endpoints._models.values()
        return {each.name: each.standing.calls_at_once.in_flight for each in model.deployments}

    async def call(self, scope: CallScope | None = None, pin: str | None = None) -> ModelAnswer:
        call = CALL if pin is None else replace(CALL, model=f"m@{pin}")
        return await self.endpoints.invoke(call, scope or at_least_once())


def in_virtual_time[**P](test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """A test whose hours pass at once."""

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_in_virtual_time(test(*args, **kwargs))

    return run


async def settled() -> None:
    """Whoever can go on without time passing has done so."""
    for _ in range(10):
        await asyncio.sleep(0)
