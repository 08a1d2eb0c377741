"""What one worker finds of a deployment, another knows; and limits hold across them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, Status, simulated
from tests.integration.sharing_harness import Worker, two_workers

MODELS = """
models:
  failing:
    deployments:
      - {{name: failing, protocol: aml_online, url: "{failing}", probe_seconds: 4}}
  limited:
    deployments:
      - {{name: limited, protocol: aml_online, url: "{limited}", requests_per_minute: 60}}
  narrow:
    deployments:
      - {{name: narrow, protocol: aml_online, url: "{narrow}", max_concurrency: 8}}
  steered:
    deployments:
      - {{name: blue, protocol: aml_online, url: "{blue}"}}
      - {{name: green, protocol: aml_online, url: "{green}", weight: 0}}
"""
NAMES = ("failing", "limited", "narrow", "blue", "green")
WITHIN_SECONDS = 2.0
ROUNDS = 6
"""A machine that is busy with something else may miss it at times."""


@pytest.fixture(scope="module")
async def models() -> AsyncIterator[Simulated]:
    async with simulated(*NAMES) as served:
        yield served


@pytest.fixture(scope="module")
async def workers(
    models: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Worker]]:
    text = MODELS.format(**{name: models.url(name, "score") for name in NAMES})
    async with two_workers(tmp_path_factory.mktemp("sharing"), text) as running:
        yield running


async def test_a_breaker_that_one_worker_opens_is_open_at_the_other_and_closed_again(
    models, workers
):
    one, other = workers
    for worker in workers:
        assert (await worker.call("failing"))["code"] == "answered"
    took = []
    for _ in range(ROUNDS):
        models["failing"].set(Behaviour(failures=(Status(503),)))
        for _ in range(3):
            await one.call("failing")
        assert (await one.status("failing"))["state"] == "open"
        opened = await other.until("failing", state="open")
        mine, theirs = [await worker.status("failing") for worker in workers]
        assert at(mine) < at(theirs), "one tries it, then the other"

        models["failing"].set(Behaviour())
        await one.until("failing", state="half_open")
        assert (await one.call("failing"))["code"] == "answered"
        took.append(max(opened, await other.until("failing", state="ready")))
        if took[-1] < WITHIN_SECONDS:
            break
    assert min(took) < WITHIN_SECONDS, took
    assert models["failing"].counts.arrived == 2 + 4 * len(took), "the other found out nothing"


def at(status: dict) -> datetime:
    """When a call may be taken again."""
    return datetime.fromisoformat(status["until"])


async def test_a_limit_by_the_minute_holds_across_workers(models, workers):
    began = time.monotonic()
    answered: Counter[int] = Counter()

    def goes_on() -> bool:
        """For 8 s, on a busy machine up to the minute; then for what that leaves time for."""
        seconds = time.monotonic() - began
        return seconds < 8 or (answered.total() < 50 and seconds < 50)

    async def ask(place: int) -> None:
        while goes_on():
            if (await workers[place].call("limited"))["code"] == "answered":
                answered[place] += 1
            await asyncio.sleep(0.05)

    await asyncio.gather(*(ask(place) for place in (0, 0, 1, 1)))
    arrived = models["limited"].counts.arrived
    assert arrived == sum(answered.values())
    assert 50 <= arrived <= 60, answered


async def test_calls_at_once_are_limited_across_workers_and_each_gets_its_part(models, workers):
    models["narrow"].set(Behaviour(latency=Constant(ms=200)))
    began = time.monotonic()
    answered: Counter[int] = Counter()

    async def ask(place: int) -> None:
        while time.monotonic() - began < 8 or answered.total() < 100:
            if (await workers[place].call("narrow"))["code"] == "answered":
                answered[place] += 1
            else:
                await asyncio.sleep(0.05)

    await asyncio.gather(*(ask(place) for place in (0, 1) for _ in range(8)))
    assert models["narrow"].most_in_flight <= 8
    assert min(answered.values()) > sum(answered.values()) / 4, answered


async def test_an_operator_shifts_weight_at_every_worker(models, workers):
    one, other = workers
    for worker in workers:
        assert (await worker.call("steered"))["deployment"] == "blue"
    status, detail = await one.ask("PATCH", "/v1/deployments/green", {"weight": 3})
    assert status == 200, detail
    assert detail["deployment"]["weight"] == 3
    assert detail["override"] == {"weight": 3, "priority": None}
    await other.until("green", weight=3)

    _, detail = await other.ask("PATCH", "/v1/deployments/blue", {"priority": 2})
    assert detail["deployment"]["priority"] == 2
    await one.until("blue", priority=2)
    for worker in workers:
        assert (await worker.call("steered"))["deployment"] == "green"

    _, listed = await other.ask("GET", "/v1/deployments")
    shown = {each["name"]: each for each in listed["deployments"]}
    assert shown["green"]["weight"] == 3
    assert shown["blue"]["priority"] == 2

    await one.ask("PATCH", "/v1/deployments/blue", {"priority": None})
    await one.ask("PATCH", "/v1/deployments/green", {"weight": None})
    await other.until("blue", priority=1)
    await other.until("green", state="drained")


async def test_an_operator_sees_who_uses_a_deployment_and_how_much_of_it(models, workers):
    for worker in workers:
        await worker.call("narrow")
    until = time.monotonic() + 60
    while True:
        status, detail = await workers[0].ask("GET", "/v1/deployments/narrow")
        assert status == 200
        shares = [worker["limits"]["slots"]["share"] for worker in detail["workers"]]
        calls = detail["totals"]["calls"]
        if shares == [4, 4] and calls == models["narrow"].counts.answered:
            break
        assert time.monotonic() < until, detail
        await asyncio.sleep(0.25)
    assert 0.15 < detail["totals"]["mean_seconds"] < 20


@pytest.mark.parametrize(
    ("name", "body", "status", "says"),
    [
        ("purple", {"weight": 1}, 404, "blue"),
        ("blue", {}, 400, "nothing to change"),
        ("blue", {"weight": -1}, 400, "weight"),
        ("blue", {"weight": 1, "region": "x"}, 400, "region"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_reason(workers, name, body, status, says):
    answered, problem = await workers[0].ask("PATCH", f"/v1/deployments/{name}", body)
    assert (answered, says in problem["detail"]) == (status, True), problem
