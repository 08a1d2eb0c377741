"""Quotas hold at two hosts that share a storage account and a task hub, whatever is asked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, simulated
from tests.integration.batches_lab import chat_lines
from tests.integration.jobs_client import ENDED
from tests.integration.queues_client import producer
from tests.integration.quotas_lab import Heard, QuotasLab, quotas_lab
from tests.integration.tenants_lab import bearer

# The SDK leaves its sockets' writers to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

NAMES = ("rated", "metered", "priced", "worked", "queued", "batched", "other")
DEPLOYMENTS = """
models:
  rated:
    deployments: [{{name: rated, protocol: openai, url: "{rated}", model: x}}]
  metered:
    deployments: [{{name: metered, protocol: openai, url: "{metered}", model: x}}]
  priced:
    deployments:
      - name: priced
        protocol: openai
        url: "{priced}"
        model: x
        price: {{input_per_million_tokens: 1000, output_per_million_tokens: 1000}}
  worked:
    deployments: [{{name: worked, protocol: openai, url: "{worked}", model: x}}]
  queued:
    deployments: [{{name: queued, protocol: openai, url: "{queued}", model: x}}]
  batched:
    deployments: [{{name: batched, protocol: openai, url: "{batched}", model: x}}]
  other:
    deployments: [{{name: other, protocol: openai, url: "{other}", model: x}}]
"""
TENANTS = """
service_bus: {unsigned_tenant: queueing}
tenants:
  counted: {quotas: {requests_per_minute: 150}}
  worded: {quotas: {tokens_per_minute: 40000}}
  told: {quotas: {tokens_per_minute: 5000, per_model: {other: {requests_per_minute: 2}}}}
  paying: {quotas: {money_per_day: 60, models: [priced]}}
  saving: {quotas: {tokens_per_month: 6000}}
  busy: {quotas: {concurrent_jobs: 4}}
  batching: {quotas: {requests_per_minute: 40, models: [batched]}}
  sparing: {quotas: {tokens_per_day: 800}}
  queueing: {quotas: {concurrent_jobs: 3}}
"""
CHAT = "/v1/chat/completions"
WITHIN = 0.02


def chat(model: str, *, words: int = 1) -> dict:
    return {
        "model": model,
        "messages": [{"role": "user", "content": "word " * words}],
        "max_tokens": 10,
    }


def deployments(models: Simulated) -> str:
    return DEPLOYMENTS.format(**{name: models.url(name) for name in NAMES})


@pytest.fixture(scope="module")
async def models() -> AsyncIterator[Simulated]:
    async with simulated(*NAMES, seed=5) as served:
        for name in NAMES:
            served[name].set(Behaviour(latency=Constant(ms=20)))
        yield served


@pytest.fixture(scope="module")
async def lab(
    models: Simulated, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[QuotasLab]:
    folder = tmp_path_factory.mktemp("quotas")
    async with quotas_lab(folder, models, deployments(models), TENANTS) as running:
        yield running


async def test_requests_a_minute_hold_within_two_in_a_hundred(lab: QuotasLab, models: Simulated):
    heard = await lab.flood("counted", CHAT, chat("rated"), 66)
    print("in the fullest minute:", heard.most_in(60), "of 150; in all:", len(heard.times))
    assert heard.most_in(59) <= 150
    assert heard.most_in(60) >= 150 * (1 - WITHIN)
    assert len(heard.times) == models["rated"].counts.arrived
    assert heard.statuses == {429}


async def test_tokens_a_minute_hold_within_two_in_a_hundred(lab: QuotasLab):
    heard = await lab.flood("worded", CHAT, chat("metered", words=300), 20)
    used = sum(heard.tokens)
    print("tokens:", used, "of 40000, in", len(heard.times), "calls")
    assert 40_000 * (1 - WITHIN) <= used <= 40_000 * (1 + WITHIN)
    assert heard.statuses == {429}


async def test_who_is_refused_is_told_which_limit_and_until_when(lab: QuotasLab):
    heard = Heard()
    asked = 0
    while not heard.refused:
        asked += 1
        assert asked < 10
        await lab.ask(0, "told", CHAT, chat("other"), heard)
    status, headers, body = heard.refused[0]
    assert status == 429
    error = body["error"]
    assert error["code"] == "quota_reached"
    assert error["message"].startswith(
        "Tenant told has reached its per_model.other.requests_per_minute of 2: try again in "
    )
    assert 1 <= int(headers["retry-after"]) <= 61
    assert 0 < int(headers["retry-after-ms"]) <= 61_000
    assert headers["x-ratelimit-limit-requests"] == "2"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    assert headers["x-ratelimit-limit-tokens"] == "5000"


async def test_answers_say_how_much_is_left(lab: QuotasLab):
    headers = bearer(lab.keys["told"])
    body = {"model": "rated", "input": "Hi"}
    async with lab.hosts[0].post("/v1/responses", json=body, headers=headers) as response:
        assert response.status == 200, await response.text()
        told = {name.lower(): value for name, value in response.headers.items()}
    assert told["x-ratelimit-limit-tokens"] == "5000"
    assert 0 < int(told["x-ratelimit-remaining-tokens"]) < 5000
    assert told["x-ratelimit-reset-tokens"] in ("1m0s", "1m1s")
    assert "x-ratelimit-limit-requests" not in told


async def test_a_model_that_is_not_the_tenants_is_refused(lab: QuotasLab):
    heard = Heard()
    await lab.ask(1, "paying", CHAT, chat("rated"), heard)
    [(status, _, body)] = heard.refused
    assert status == 403
    assert "rated" in body["error"]["message"]


async def test_a_days_money_is_spent_and_no_more(lab: QuotasLab):
    heard = Heard()
    while 403 not in heard.statuses:
        more = await lab.flood("paying", CHAT, chat("priced", words=300), 3, callers=2)
        heard.times += more.times
        heard.tokens += more.tokens
        heard.refused += more.refused
        assert len(heard.times) < 400
    money = sum(heard.tokens) / 1000
    print("spent:", money, "of 60, in", len(heard.times), "calls")
    assert 60 * (1 - WITHIN) <= money <= 60 * (1 + WITHIN)
    for host in range(2):
        last = Heard()
        until = time.monotonic() + 30
        while not last.refused or last.refused[-1][0] != 403:
            assert time.monotonic() < until, last.refused[-1:]
            await lab.ask(host, "paying", CHAT, chat("priced", words=300), last)
        error = last.refused[-1][2]["error"]
        assert error["code"] == "budget_spent"
        assert "its money_per_day of 60" in error["message"]
        assert "it is new from " in error["message"]
        assert last.times == []


async def test_jobs_at_once_hold_when_both_hosts_are_flooded(lab: QuotasLab, models: Simulated):
    models["worked"].set(Behaviour(latency=Constant(ms=1500)))
    body = {"flow": "chat.completions", "model": "worked", "input": chat("worked")}
    del body["input"]["model"]
    headers = bearer(lab.keys["busy"])
    refused: list[tuple[dict, dict]] = []

    async def submitted(host: int) -> str:
        until = time.monotonic() + 200
        while time.monotonic() < until:
            async with lab.hosts[host].post("/v1/jobs", json=body, headers=headers) as response:
                told = await response.json()
                if response.status == 202:
                    return told["id"]
                assert response.status == 429, told
                refused.append((dict(response.headers), told))
            await asyncio.sleep(0.5)
        raise AssertionError("never accepted")

    jobs = await asyncio.gather(*(submitted(number % 2) for number in range(16)))
    until = time.monotonic() + 120
    for job in jobs:
        while True:
            async with lab.hosts[0].get(f"/v1/jobs/{job}", headers=headers) as response:
                record = await response.json()
            if record["status"] in ENDED:
                break
            assert time.monotonic() < until, record
            await asyncio.sleep(0.2)
        assert record["status"] == "succeeded", record
    print("refused:", len(refused), "at once:", models["worked"].most_in_flight)
    assert models["worked"].counts.arrived == 16
    assert 2 <= models["worked"].most_in_flight <= 4
    assert refused
    shown, problem = refused[0]
    assert shown["Retry-After"].isdecimal()
    assert problem["code"] == "quota_reached"
    assert "Tenant busy has reached its concurrent_jobs of 4" in problem["detail"]


async def test_a_call_that_is_to_be_a_job_is_one_of_them(lab: QuotasLab, models: Simulated):
    models["worked"].set(Behaviour(latency=Constant(ms=6000)))
    headers = bearer(lab.keys["busy"])
    body = chat("worked") | {"background": True}
    statuses = []
    for number in range(5):
        async with lab.hosts[number % 2].post(CHAT, json=body, headers=headers) as response:
            statuses.append(response.status)
            last = await response.json()
    assert statuses == [202, 202, 202, 202, 429]
    assert "concurrent_jobs" in last["error"]["message"]


async def test_lines_of_a_batch_wait_for_the_rate_and_all_are_answered(
    lab: QuotasLab, models: Simulated
):
    arrived: list[float] = []

    async def watch() -> None:
        while True:
            new = models["batched"].counts.arrived - len(arrived)
            arrived.extend([time.monotonic()] * new)
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with lab.batches("batching") as batches:
        batch = await batches.run(chat_lines(60, model="batched"))
        done, failed = await batches.results(batch)
    watching.cancel()
    assert (len(done), len(failed)) == (60, 0)
    assert max(sum(at <= each < at + 59 for each in arrived) for at in arrived) <= 40


async def test_lines_that_the_budget_does_not_cover_fail_with_its_name(lab: QuotasLab):
    async with lab.batches("sparing") as batches:
        content = [{"role": "user", "content": "word " * 100}]
        lines = chat_lines(20, model="batched", messages=content, max_tokens=10)
        done, failed = await batches.results(await batches.run(lines))
    print("lines that the budget covered:", len(done))
    assert 4 <= len(done) <= 6
    assert len(failed) == 20 - len(done)
    for line in failed.values():
        assert "tokens_per_day of 800" in json.dumps(line)


async def test_a_line_of_a_model_that_is_not_the_tenants_is_told_before_any_is_paid(
    lab: QuotasLab,
):
    async with lab.batches("batching") as batches:
        batch = await batches.run(chat_lines(2, model="rated"))
    assert batch["status"] == "failed"
    problems = batch["errors"]["data"]
    assert (problems[0]["code"], problems[0]["line"]) == ("model_not_found", 1)
    assert "rated" not in problems[0]["message"].partition("there are")[2]


async def test_messages_wait_in_the_queue_and_none_is_lost(lab: QuotasLab, models: Simulated):
    models["queued"].set(Behaviour(latency=Constant(ms=1000)))
    body = {"flow": "chat.completions", "model": "queued", "input": chat("queued")}
    del body["input"]["model"]
    async with producer(lab.stack.service_bus) as queue:
        sent = [await queue.send(body) for _ in range(9)]
        replies = [await queue.reply(each) for each in sent]
    assert {reply["status"] for reply in replies} == {"succeeded"}
    assert models["queued"].counts.arrived == 9
    assert models["queued"].most_in_flight <= 3


async def test_what_was_spent_is_known_after_a_restart_of_everything(
    models: Simulated, tmp_path: Path
):
    spent = 0
    for run in range(2):
        async with quotas_lab(tmp_path, models, deployments(models), TENANTS) as lab:
            heard = await lab.flood("saving", CHAT, chat("other", words=300), 8, callers=1)
            spent += sum(heard.tokens)
            print(f"tokens of run {run}:", sum(heard.tokens), heard.statuses)
            if run == 0:
                assert 403 in heard.statuses
                assert spent >= 6000 * 0.9
            else:
                assert heard.times == []
                assert heard.statuses == {403}
            await asyncio.sleep(1.5)
    assert spent <= 6000 * (1 + WITHIN)
