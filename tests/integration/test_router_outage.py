"""The bad days of a region, over real sockets: one of three deployments breaks, under load.

Times are bounded from one side only: on a busy machine everything takes longer, nothing less.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from contracts.calls import CallScope, ModelCall, Task
from contracts.deployments import DeploymentStatus
from contracts.errors import CallFailed, NoCapacity, OutcomeUnknown, SluiceError
from contracts.states import Execution
from devhost.inference.simulated import (
    Behaviour,
    Constant,
    Drop,
    Failure,
    Garbage,
    Hang,
    RetryAfter,
    Simulated,
    Status,
    Uniform,
    simulated,
)
from devhost.stack.network import free_port
from endpoints import Endpoints
from endpoints.routing.breaker import CONSECUTIVE
from endpoints.routing.concurrency import START
from endpoints.settings import Settings

CALLERS = 24
PROBE = 0.5
TIMEOUT = 3.0
OUTAGE = 2.5
NAMES = ("a", "b", "c")
HEALTHY = Behaviour(latency=Uniform(5, 20))
CALL = ModelCall("m", Task.SCORE, {"text": "Hello."})
CHAT = ModelCall("m", Task.CHAT, {"messages": [{"role": "user", "content": "Hello."}]})


def failing(*failures: Failure) -> Behaviour:
    return Behaviour(latency=HEALTHY.latency, failures=failures)


@dataclass
class Region:
    """Deployments of one model, each at a port of its own, and callers of it."""

    stack: AsyncExitStack
    served: dict[str, Simulated] = field(default_factory=dict)
    endpoints: Endpoints = field(init=False)
    closing: dict[str, AsyncExitStack] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    errors: list[SluiceError] = field(default_factory=list)
    scopes: list[CallScope] = field(default_factory=list)

    async def start(self, name: str) -> None:
        """Serve a deployment; at the same port as before, if it was served before."""
        self.closing[name] = AsyncExitStack()
        serving = simulated(name, port=self.ports.setdefault(name, free_port()), seed=1)
        self.served[name] = await self.closing[name].enter_async_context(serving)
        self.behave(name, HEALTHY)

    async def stop(self, name: str) -> None:
        await self.closing.pop(name).aclose()

    def behave(self, name: str, behaviour: Behaviour) -> None:
        self.served[name][name].set(behaviour)

    def status(self, name: str) -> DeploymentStatus:
        [status] = [each for each in self.endpoints.statuses() if each.name == name]
        return status

    def arrived(self, name: str) -> int:
        """Requests since the behaviour changed."""
        return self.served[name][name].state().arrived_since_change

    async def call(self, scope: CallScope | None = None, call: ModelCall = CALL) -> str:
        """The deployment that answered."""
        scope = scope or CallScope("job", "tenant")
        return (await self.endpoints.invoke(call, scope)).attempt.deployment

    @asynccontextmanager
    async def load(self, patience: float = 0.0) -> AsyncIterator[None]:
        """Callers that come again as soon as they are answered, for a block's length."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._caller(patience)) for _ in range(CALLERS)]
            await self.until(lambda: self.answered.total() >= 10 * CALLERS)
            yield
            for task in tasks:
                task.cancel()

    async def _caller(self, patience: float) -> None:
        while True:
            scope = CallScope("job", "tenant", patience=patience)
            self.scopes.append(scope)
            try:
                self.answered[await self.call(scope)] += 1
            except SluiceError as error:
                self.errors.append(error)
                await asyncio.sleep(0.05)

    async def until(self, holds, seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def region(*names: str, protocol: str = "aml_online", **fields: object):
    async with AsyncExitStack() as stack:
        here = Region(stack)
        for name in names or NAMES:
            await here.start(name)
        path = "score" if protocol == "aml_online" else "v1"
        deployments = [
            {
                "name": name,
                "protocol": protocol,
                "url": here.served[name].url(name, path),
                "probe_seconds": PROBE,
                "timeout_seconds": TIMEOUT,
                **fields,
            }
            for name in names or NAMES
        ]
        here.endpoints = Endpoints(
            Settings.model_validate({"models": {"m": {"deployments": deployments}}})
        )
        try:
            yield here
        finally:
            await here.endpoints.aclose()
            for name in list(here.closing):
                await here.stop(name)


def probes(seconds: float) -> int:
    """How many trials fall into so much time: the interval doubles from the second on."""
    count, at, interval = 0, PROBE, PROBE
    while at < seconds:
        count += 1
        at += interval
        interval = min(interval * 2, 6 * PROBE)
    return count


# One of three breaks down and comes back.

OUTAGES = {
    "503": Status(503),
    "503 after a while": Status(503, after_ms=100),
    "503 with Retry-After": Status(503, retry_after=RetryAfter(1)),
    "reset": Drop(),
    "reset within an answer": Drop(when="during"),
    "half an answer": Garbage("truncated"),
}


@pytest.mark.parametrize("failure", OUTAGES.values(), ids=OUTAGES)
async def test_no_caller_notices_that_one_of_three_is_broken(failure: Failure):
    async with region() as here, here.load():
        here.behave("a", failing(failure))
        begun = asyncio.get_running_loop().time()
        await asyncio.sleep(OUTAGE)
        lasted = asyncio.get_running_loop().time() - begun
        # Those that were under way when it broke, those that opened the breaker, the trials.
        assert here.arrived("a") <= CALLERS + CONSECUTIVE + probes(lasted) + 1
        assert here.status("a").state in ("open", "half_open", "cooling")
        here.behave("a", HEALTHY)
        until = here.status("a").until
        before = here.answered["a"]
        await here.until(lambda: here.answered["a"] > before + CALLERS)
        if until is not None:
            assert until <= datetime.now(UTC) + timedelta(seconds=6 * PROBE)
        assert here.status("a").state in ("ready", "full")
        share = await share_of(here, "a")
    assert here.errors == []
    assert share > 1 / 6
    repeated = [scope for scope in here.scopes if len(scope.attempts) > len(NAMES)]
    assert repeated == []


async def share_of(here: Region, name: str, calls: int = 600) -> float:
    """Of the next calls, how many one deployment answers."""
    total, of_it = here.answered.total(), here.answered[name]
    await here.until(lambda: here.answered.total() >= total + calls)
    return (here.answered[name] - of_it) / (here.answered.total() - total)


async def test_no_caller_notices_that_one_of_three_is_gone():
    async with region() as here, here.load():
        await here.stop("a")
        await asyncio.sleep(OUTAGE)
        assert here.status("a").state in ("open", "half_open")
        assert here.status("a").outcomes["not_connected"] <= CALLERS + CONSECUTIVE + probes(60)
        await here.start("a")
        before = here.answered["a"]
        await here.until(lambda: here.answered["a"] > before + CALLERS)
        share = await share_of(here, "a")
    assert here.errors == []
    assert share > 1 / 6


async def test_no_caller_notices_that_one_of_three_hangs():
    async with region() as here, here.load():
        here.behave("a", failing(Hang()))
        await asyncio.sleep(2 * TIMEOUT + OUTAGE)
        # Until its silence is noticed it may fill up; then only trials go there.
        assert here.arrived("a") <= 2 * (CALLERS + START) + probes(60)
        here.behave("a", HEALTHY)
        before = here.answered["a"]
        await here.until(lambda: here.answered["a"] > before + CALLERS)
    assert here.errors == []
    slow = [
        scope for scope in here.scopes if sum(each.seconds for each in scope.attempts) > TIMEOUT
    ]
    assert len(slow) <= 2 * (CALLERS + START) + probes(60)


async def test_a_deployment_that_refuses_for_a_while_costs_no_caller_anything():
    async with region() as here, here.load():
        here.behave("a", Behaviour(latency=HEALTHY.latency, capacity=0))
        await asyncio.sleep(OUTAGE)
        refused = here.served["a"]["a"].counts.refused
        # Each second one burst, of half as many as the one before.
        assert refused <= CALLERS + START + 4 * math.ceil(OUTAGE) + CALLERS
        assert here.status("a").state in ("cooling", "ready", "full")
        here.behave("a", HEALTHY)
        before = here.answered["a"]
        await here.until(lambda: here.answered["a"] > before + CALLERS)
    assert here.errors == []
    spilled = [
        scope
        for scope in here.scopes
        if any(each.outcome == "throttled" for each in scope.attempts)
    ]
    assert spilled
    done = [scope for scope in spilled if scope.attempts[-1].outcome != "cancelled"]
    assert {scope.attempts[-1].outcome for scope in done} == {"answered"}


async def test_one_that_fails_every_third_call_costs_no_caller_anything():
    async with region() as here, here.load():
        here.behave("a", failing(Status(503, probability=0.33)))
        await asyncio.sleep(OUTAGE)
    assert here.errors == []


async def test_two_of_three_may_break_at_once_if_callers_wait_a_moment_for_the_third():
    async with region() as here, here.load(patience=10):
        here.behave("a", failing(Status(503)))
        here.behave("b", failing(Drop()))
        await asyncio.sleep(OUTAGE)
    assert here.errors == []


# All refuse.


async def test_when_all_throttle_the_earliest_time_is_told_and_they_are_left_alone_until_then():
    async with region() as here:
        for name, seconds in (("a", 40), ("b", 20), ("c", 30)):
            refusing = Behaviour(capacity=0, retry_after=RetryAfter(seconds))
            here.behave(name, refusing)
        before = datetime.now(UTC)
        for _ in range(20):
            with pytest.raises(NoCapacity) as told:
                await here.call()
            assert before + timedelta(seconds=20) <= told.value.retry_at
            assert told.value.retry_at <= datetime.now(UTC) + timedelta(seconds=20)
        assert [here.arrived(name) for name in NAMES] == [1, 1, 1]


async def test_when_all_break_down_callers_are_told_when_to_come_back_and_recovery_is_found():
    async with region(probe_seconds=2.0) as here:
        for name in NAMES:
            here.behave(name, failing(Status(503)))
        for _ in range(CONSECUTIVE):
            with pytest.raises(CallFailed):
                await here.call()
        with pytest.raises(NoCapacity) as told:
            await here.call()
        assert told.value.retry_at <= datetime.now(UTC) + timedelta(seconds=2)
        for name in NAMES:
            here.behave(name, HEALTHY)
        await asyncio.sleep((told.value.retry_at - datetime.now(UTC)).total_seconds() + 0.01)
        await here.call()


async def test_patient_callers_outlast_an_outage_of_everything():
    async with region() as here:
        for name in NAMES:
            here.behave(name, failing(Status(503, seconds=OUTAGE)))
        for _ in range(CONSECUTIVE):
            with pytest.raises(CallFailed):
                await here.call()

        async def patient() -> str:
            return await here.call(CallScope("job", "tenant", patience=60))

        results = await asyncio.gather(*(patient() for _ in range(50)), return_exceptions=True)
    failed = [result for result in results if isinstance(result, Exception)]
    # Only who was the trial of each deployment in turn has been told that all fail.
    assert all(isinstance(each, CallFailed) for each in failed)
    assert len(failed) <= 3 * probes(60) / 3
    assert len(results) - len(failed) >= 30


# May run at most once.


@pytest.mark.parametrize("failure", [Hang(), Drop(), Drop(when="during")], ids=repr)
async def test_at_most_once_ends_as_unknown_and_is_never_repeated(failure: Failure):
    async with region(timeout_seconds=1 if isinstance(failure, Hang) else 60) as here:
        for name in NAMES:
            here.behave(name, failing(failure))
        for number in range(1, CONSECUTIVE + 1):
            scope = CallScope("job", "tenant", Execution.AT_MOST_ONCE)
            with pytest.raises(OutcomeUnknown):
                await here.call(scope)
            assert len(scope.attempts) == 1
            assert sum(here.arrived(name) for name in NAMES) == number


async def test_at_most_once_moves_on_from_one_that_was_never_reached():
    async with region("a", "b") as here:
        await here.stop("a")
        for _ in range(10):
            scope = CallScope("job", "tenant", Execution.AT_MOST_ONCE)
            assert await here.call(scope) == "b"


# Trials.


async def test_a_trial_at_one_that_hangs_does_not_hold_its_caller_for_the_full_timeout():
    async with region("a", "b", timeout_seconds=600) as here:
        for _ in range(20):
            await here.call()
        here.behave("a", failing(Status(503)))
        await until_open(here)
        here.behave("a", failing(Hang()))
        tried: list[CallScope] = []

        async def call() -> None:
            scope = CallScope("job", "tenant")
            assert await here.call(scope) == "b"
            if len(scope.attempts) > 1:
                tried.append(scope)

        async with asyncio.timeout(60):
            while not tried:
                await call()
                await asyncio.sleep(0.02)
        [hung, answered] = tried[0].attempts
        assert (hung.deployment, hung.outcome, answered.outcome) == ("a", "unknown", "answered")
        assert 1.9 <= hung.seconds < 60  # 2 s, on a machine that has nothing else to do
        assert here.arrived("a") == 1


async def test_only_one_call_is_the_trial_however_many_come():
    async with region("a", "b") as here:
        for _ in range(20):
            await here.call()
        here.behave("a", failing(Status(503)))
        await until_open(here)
        slow = Behaviour(latency=Constant(500))
        here.behave("a", slow)
        await asyncio.sleep(PROBE + 0.05)
        names = await asyncio.gather(*(here.call() for _ in range(START)))
        assert names.count("a") == 1
        assert here.arrived("a") == 1
        assert here.status("a").state in ("ready", "full")


async def test_a_streamed_answer_has_passed_its_trial_when_it_begins():
    async with region("a", "b", protocol="openai", model="x") as here:
        for _ in range(20):
            await here.call(call=CHAT)
        here.behave("a", failing(Status(503)))
        await until_open(here, CHAT)
        here.behave("a", HEALTHY)
        await asyncio.sleep(PROBE + 0.05)
        async with asyncio.timeout(60):
            while True:
                scope = CallScope("job", "tenant")
                stream = await here.endpoints.stream(CHAT, scope)
                if scope.attempts[-1].deployment == "a":
                    break
                await stream.aclose()
        assert here.status("a").state == "ready"  # while the stream goes on
        assert here.status("a").in_flight == 1
        async for _ in stream:
            pass
        assert here.status("a").in_flight == 0


async def until_open(here: Region, call: ModelCall = CALL) -> None:
    async with asyncio.timeout(60):
        while here.status("a").state not in ("open", "half_open"):
            await here.call(call=call)
