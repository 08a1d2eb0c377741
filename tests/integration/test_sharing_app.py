"""The app itself on two hosts: jobs and real-time calls share limits, and leave their traces."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, Status, simulated
from devhost.stack.plan import Options
from devhost.stack.running import Stack, stack
from tests.integration.functions_host_harness import ROOT, functions_host
from tests.integration.jobs_client import ACCEPTED, submit

MODELS = """
models:
  embed:
    deployments:
      - {{name: limited, protocol: openai, url: "{limited}", model: x, requests_per_minute: 40}}
  chat:
    mirror: {{to: shadow, percent: 50}}
    deployments:
      - {{name: live, protocol: openai, url: "{live}", model: x}}
      - {{name: shadow, protocol: openai, url: "{shadow}", model: x, weight: 0}}
"""
NAMES = ("limited", "live", "shadow")
USAGE = "sluice.usage: "
QUESTION = {"model": "chat", "messages": [{"role": "user", "content": "a confidential prompt"}]}


@dataclass
class App:
    """Two hosts of it, and a session with each."""

    logs: list[Path]
    sessions: list[aiohttp.ClientSession]

    def usage(self, host: int) -> list[dict]:
        """What a host's log tells of usage, in lines that are written to their end."""
        lines = self.logs[host].read_text().rpartition("\n")[0].splitlines()
        told = [json.loads(line.split(USAGE)[1]) for line in lines if USAGE in line]
        return [record for records in told for record in records]


@pytest.fixture(scope="module")
async def models() -> AsyncIterator[Simulated]:
    async with simulated(*NAMES, seed=3) as served:
        yield served


@pytest.fixture(scope="module")
async def app(models: Simulated, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[App]:
    folder = tmp_path_factory.mktemp("app")
    deployments = folder / "deployments.yaml"
    deployments.write_text(MODELS.format(**{name: models.url(name) for name in NAMES}))
    parts = Options(parts=frozenset({"azurite", "hub", "host"}), deployments=deployments)
    with ExitStack() as running:
        async with stack(parts, state=folder / "state") as one:
            other = await asyncio.to_thread(
                running.enter_context, second_host(folder, one, deployments)
            )
            headers = {"x-functions-key": one.api_key}
            async with (
                aiohttp.ClientSession(one.http, headers=headers) as here,
                aiohttp.ClientSession(other.address, headers=headers) as there,
            ):
                yield App([one.log("host"), other.log_file], [here, there])


def second_host(folder: Path, one: Stack, deployments: Path):
    """Another worker of the same app: on the same hub, with the same storage."""
    hub = one.log("hub").read_text().partition("Task hub ready: ")[2].split()[0]
    settings = {**one.environment, "SLUICE_DEPLOYMENTS": str(deployments)}
    key = ("--key", one.api_key)
    return functions_host(folder, hub, *key, app=ROOT, **settings)


async def have_met(app: App) -> None:
    """Until each worker has its half."""
    until = time.monotonic() + 90
    shares: list[int] = []
    while shares != [20, 20]:
        assert time.monotonic() < until, shares
        for session in app.sessions:  # whose door brings the worker to the others
            async with session.get("/v1/deployments/limited") as response:
                workers = (await response.json())["workers"]
        shares = [worker["limits"]["requests"]["share"] for worker in workers]
        await asyncio.sleep(0.2)


async def test_a_limit_holds_for_jobs_that_both_workers_run(app, models):
    await have_met(app)
    models["limited"].set(Behaviour(latency=Constant(ms=20)))
    jobs = [submit(app.sessions[number % 2], "embed") for number in range(120)]
    assert {status for status, _, _ in await asyncio.gather(*jobs)} <= ACCEPTED
    until = time.monotonic() + 180
    while models["limited"].counts.arrived < 30:
        assert time.monotonic() < until, models["limited"].counts
        await asyncio.sleep(0.2)
    await asyncio.sleep(3)
    arrived = models["limited"].counts.arrived  # a few more may follow, as time goes on
    began: list[datetime] = []
    while len(began) < arrived:  # a log is written once a second
        assert time.monotonic() < until, (len(began), models["limited"].counts)
        await asyncio.sleep(0.2)
        ran = [[each for each in app.usage(host) if each["model"] == "embed"] for host in range(2)]
        began = sorted(datetime.fromisoformat(each["started_at"]) for one in ran for each in one)
    print("jobs that each worker ran:", [len(one) for one in ran])  # the hub's to say
    minute = timedelta(seconds=59)
    assert max(sum(one <= other < one + minute for other in began) for one in began) <= 40


async def test_mirrored_calls_are_compared_and_the_log_tells_of_each_call(app, models):
    models["shadow"].set(Behaviour(failures=(Status(500, probability=0.25),)))
    session = app.sessions[0]
    for _ in range(40):
        async with session.post("/v1/chat/completions", json=QUESTION) as response:
            assert response.status == 200, await response.text()
    until = time.monotonic() + 90
    lines: list[dict[str, Any]] = []
    while True:  # until all is told of the same calls; the log is written once a second
        async with app.sessions[1].get("/v1/comparisons?model=chat&limit=500") as response:
            assert response.status == 200
            listed = await response.json()
        lines = [each for each in app.usage(0) if each["model"] == "chat"]
        count, mirrored = listed["summary"]["count"], models["shadow"].counts.arrived
        if 5 < count == mirrored and len(lines) >= 40 + count:
            break
        assert time.monotonic() < until, (listed["summary"], mirrored, len(lines))
        await asyncio.sleep(0.2)
    summary, found = listed["summary"], listed["data"]
    assert summary["count"] == len(found)
    failed = sum(each["shadow"]["outcome"] != "answered" for each in found)
    assert summary["shadow_failures"] == pytest.approx(failed / len(found))
    assert summary["token_ratio"] == pytest.approx(1.0)
    times = [each["at"] for each in found]
    assert times == sorted(times, reverse=True)

    assert len([each for each in lines if not each["mirrored"]]) == 40
    assert len([each for each in lines if each["mirrored"]]) == len(found)
    assert all("confidential" not in log.read_text() for log in app.logs)


async def test_a_worker_that_answers_real_time_calls_is_seen_by_the_other(app):
    async with app.sessions[0].post("/v1/chat/completions", json=QUESTION) as response:
        assert response.status == 200
    until = time.monotonic() + 90
    while True:
        async with app.sessions[1].get("/v1/deployments/live") as response:
            detail = await response.json()
        if detail["totals"]["calls"] >= 41 and detail["workers"]:
            break
        assert time.monotonic() < until, detail
        await asyncio.sleep(0.2)
    assert detail["deployment"]["state"] == "ready"


@pytest.mark.parametrize(
    ("query", "status"),
    [("", 400), ("?model=none", 404), ("?model=chat&limit=0", 400), ("?model=embed", 200)],
)
async def test_comparisons_of_what_is_not_mirrored(app, query, status):
    async with app.sessions[0].get(f"/v1/comparisons{query}") as response:
        assert response.status == status
        if status == 200:
            assert (await response.json())["summary"]["count"] == 0
