"""A rollout to a good deployment, one that is undone, and one that an operator ends."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, Status, simulated
from tests.integration.functions_host_harness import KEY, ROOT
from tests.integration.sharing_harness import Worker, two_workers

MODELS = """
models:
  m:
    deployments:
      - {{name: old, protocol: aml_online, url: "{old}", weight: 2}}
      - {{name: new, protocol: aml_online, url: "{new}", weight: 0, probe_seconds: 1}}
  alone:
    deployments:
      - {{name: only, protocol: aml_online, url: "{old}"}}
"""
RULES = {"steps": [50, 100], "step_seconds": 3, "min_calls": 15}
ANY_LATENCY = 100
"""A ratio that is always borne: of a few calls on a busy machine, some may take far longer."""


@pytest.fixture(scope="module")
async def models() -> AsyncIterator[Simulated]:
    async with simulated("old", "new", seed=7) as served:
        yield served


@pytest.fixture(scope="module")
async def workers(
    models: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[list[Worker]]:
    text = MODELS.format(old=models.url("old", "score"), new=models.url("new", "score"))
    async with two_workers(tmp_path_factory.mktemp("rollouts"), text) as running:
        yield running


@pytest.fixture(autouse=True)
async def as_declared(models: Simulated, workers: list[Worker]) -> None:
    """Fast and sound, with the weights of the file, and no breaker open from before."""
    for name in ("old", "new"):
        models[name].set(Behaviour(latency=Constant(ms=20)))
        status, _ = await workers[0].ask("PATCH", f"/v1/deployments/{name}", {"weight": None})
        assert status == 200
    for worker in workers:
        await worker.call("m")
        await worker.until("new", weight=0)
        await worker.until("old", weight=2)
        while (await worker.status("new"))["state"] != "drained":
            await worker.call("m@new")
            await asyncio.sleep(0.2)


async def noted(worker: Worker, target: str, most: int) -> list[tuple[str, str, dict]]:
    """The latest events of a rollout in the audit log, the newest first."""
    status, page = await worker.ask("GET", "/v1/audit")
    assert status == 200, page
    found = [event for event in page["data"] if event["target"] == target]
    return [(event["action"], event["subject"], event["detail"]) for event in found[:most]]


@asynccontextmanager
async def traffic(workers: list[Worker]) -> AsyncIterator[Counter[str]]:
    """Calls at both workers, and who answered them."""
    answered: Counter[str] = Counter()

    async def ask(worker: Worker) -> None:
        while True:
            said = await worker.call("m")
            answered[said.get("deployment", said["code"])] += 1
            await asyncio.sleep(0.03)

    tasks = [asyncio.create_task(ask(worker)) for worker in workers]
    try:
        yield answered
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def start(worker: Worker, **rules) -> str:
    status, record = await worker.ask(
        "POST", "/v1/rollouts", {"model": "m", "to": "new", **RULES, **rules}
    )
    assert status == 202, record
    assert record["status"] == "running"
    return str(record["id"])


async def ended(worker: Worker, name: str, within: float = 240) -> dict:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        status, record = await worker.ask("GET", f"/v1/rollouts/{name}")
        assert status == 200
        if record["status"] != "running":
            return record
        await asyncio.sleep(0.2)
    raise AssertionError(record)


async def test_a_good_deployment_takes_all_calls(workers):
    async with traffic(workers):
        name = await start(workers[0], max_latency_ratio=ANY_LATENCY)
        record = await ended(workers[1], name)
        assert record["status"] == "succeeded", record
        assert record["weights"] == {"old": 0, "new": 2}
        assert [step["percent"] for step in record["steps"]] == [50, 100]
        for worker in workers:
            await worker.until("old", weight=0)
        said = [await worker.call("m") for worker in workers for _ in range(10)]
        assert {each["deployment"] for each in said} == {"new"}
    for step in record["steps"]:
        assert step["new"]["calls"] >= RULES["min_calls"]
        assert step["new"]["error_rate"] == 0
        assert 0.01 < step["new"]["mean_seconds"] < 20
    assert await noted(workers[0], name, 3) == [
        ("rollout.ended", "service", {"status": "succeeded", "reason": None}),
        ("rollout.advanced", "service", {"percent": 100}),
        (
            "rollout.started",
            "platform-key",
            {"model": "m", "to": "new", "steps": RULES["steps"]},
        ),
    ]


async def test_a_failing_deployment_is_undone_by_itself_and_no_caller_sees_it(models, workers):
    models["new"].set(Behaviour(failures=(Status(500, probability=0.3),)))
    async with traffic(workers) as answered:
        record = await ended(workers[0], await start(workers[0]))
        assert record["status"] == "rolled_back", json.dumps(record)
        assert record["reason"].startswith("new: ")
        assert record["weights"] == {"old": 2, "new": 0}
        for worker in workers:
            await worker.until("new", weight=0)
    assert answered.keys() <= {"old", "new"}, "each failed call was answered by the other"


async def test_a_slow_deployment_is_undone(models, workers):
    models["new"].set(Behaviour(latency=Constant(ms=600)))
    async with traffic(workers):
        record = await ended(workers[0], await start(workers[0]))
    assert record["status"] == "rolled_back", json.dumps(record)
    assert "its calls take" in record["reason"]


async def test_one_at_a_time_and_an_operator_can_end_it(workers):
    one, other = workers
    async with traffic(workers):
        name = await start(one, step_seconds=600, max_latency_ratio=ANY_LATENCY)
        for worker in workers:
            await worker.until("new", weight=1)
        status, problem = await other.ask("POST", "/v1/rollouts", {"model": "m", "to": "new"})
        assert (status, name in problem["detail"]) == (409, True)
        status, problem = await other.ask("PATCH", "/v1/deployments/old", {"weight": 1})
        assert (status, "cancel" in problem["detail"]) == (409, True)
        status, _ = await other.ask("POST", f"/v1/rollouts/{name}/cancel")
        assert status == 202
        record = await ended(one, name)
    assert record["status"] == "cancelled"
    assert [action for action, _, _ in await noted(one, name, 3)] == [
        "rollout.ended",
        "rollout.cancelled",
        "rollout.started",
    ]
    for worker in workers:
        await worker.until("new", weight=0)
    status, problem = await other.ask("POST", f"/v1/rollouts/{name}/cancel")
    assert (status, "cancelled" in problem["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"model": "n", "to": "new"}, 400, "m, alone"),
        ({"model": "m", "to": "only"}, 400, "old, new"),
        ({"model": "m", "to": "new", "steps": [50, 10]}, 400, "ascending"),
        ({"model": "alone", "to": "only"}, 409, "nothing to shift"),
    ],
)
async def test_what_cannot_be_rolled_out_is_refused_with_a_reason(workers, body, status, says):
    answered, problem = await workers[0].ask("POST", "/v1/rollouts", body)
    assert (answered, says in problem["detail"]) == (status, True), problem


async def test_a_rollout_that_nobody_started_is_not_found(workers):
    status, _ = await workers[0].ask("GET", "/v1/rollouts/rollout-none")
    assert status == 404


async def test_dev_rollout_follows_it_to_its_end(workers):
    arguments = ["m", "new", "--url", workers[0].host.address, "--key", KEY, "--steps", "50,100"]
    arguments += ["--step-seconds", "3", "--min-calls", "15"]
    arguments += ["--max-latency-ratio", f"{ANY_LATENCY}"]
    async with traffic(workers):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "devhost.rollout", *arguments),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        said, _ = await asyncio.wait_for(process.communicate(), 240)
    assert process.returncode == 0, said
    assert b"new 50 %" in said
    assert said.decode().splitlines()[-1] == "succeeded: old weighs 0, new weighs 2"
