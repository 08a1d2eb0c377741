"""`/v1/usage` over the real stack: what simulated deployments were asked, and what it cost."""

from __future__ import annotations

import asyncio
import csv
import io
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import aiohttp
import pytest

from devhost.inference.simulated import Behaviour, Constant, Simulated, simulated
from devhost.inference.simulated.failures import Status
from devhost.stack.plan import Options
from devhost.stack.running import Stack, stack
from tests.integration.batches_lab import batches_of, chat_lines
from tests.integration.jobs_client import ended, submit

NAMES = ("priced", "shadow", "owned", "free")
MODELS = """
models:
  chat:
    mirror: {{to: shadow, percent: 50}}
    deployments:
      - name: priced
        protocol: openai
        url: "{priced}"
        model: x
        version: v1
        price: {{input_per_million_tokens: 0.15, output_per_million_tokens: "0.6", currency: EUR}}
      - name: shadow
        protocol: openai
        url: "{shadow}"
        model: x
        weight: 0
        price: {{per_request: 1, currency: EUR}}
  embed:
    deployments:
      - name: owned
        protocol: openai
        url: "{owned}"
        model: x
        max_concurrency: 4
        price: {{dedicated: {{per_gpu_hour: 3.2, gpus: 2, since: "{since}"}}, currency: EUR}}
  classifier:
    deployments:
      - {{name: free, protocol: openai, url: "{free}", model: x}}
"""
QUESTION = {"model": "chat", "messages": [{"role": "user", "content": "a confidential prompt"}]}
INPUT, OUTPUT = Decimal("0.15") / 10**6, Decimal("0.6") / 10**6


@dataclass
class Lab:
    stack: Stack
    models: Simulated
    api: aiohttp.ClientSession

    async def usage(self, query: str = "", accept: str = "application/json") -> list[dict]:
        async with self.api.get(f"/v1/usage{query}", headers={"Accept": accept}) as response:
            assert response.status == 200, await response.text()
            if response.content_type == "text/csv":
                return list(csv.DictReader(io.StringIO(await response.text())))
            return (await response.json())["data"]

    async def chat(self, **fields) -> int:
        async with self.api.post("/v1/chat/completions", json=QUESTION | fields) as response:
            await response.read()
            return response.status

    def arrived(self) -> Counter[str]:
        return Counter({name: self.models[name].counts.arrived for name in NAMES})

    async def agreed(self, within: float = 30.0) -> list[dict]:
        """By deployment, once the books know of every request that a deployment has seen."""
        until = time.monotonic() + within
        while True:
            rows = await self.usage("?group_by=deployment")
            told = Counter({row["deployment"]: row["requests"] for row in rows if not row["idle"]})
            if told == +self.arrived():
                return rows
            assert time.monotonic() < until, (told, self.arrived())
            await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
async def lab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Lab]:
    folder = tmp_path_factory.mktemp("usage")
    deployments = folder / "deployments.yaml"
    since = (datetime.now(UTC) - timedelta(days=1)).date()
    async with simulated(*NAMES, seed=5) as models:
        urls = {name: models.url(name) for name in NAMES}
        deployments.write_text(MODELS.format(**urls, since=f"{since}T00:00:00Z"))
        options = Options(parts=frozenset({"azurite", "hub", "host"}), deployments=deployments)
        async with stack(options, state=folder / "state") as running:
            headers = {"x-functions-key": running.api_key}
            async with aiohttp.ClientSession(running.http, headers=headers) as api:
                yield Lab(running, models, api)


async def test_every_request_is_on_the_books_with_its_cost(lab):
    lab.models["priced"].set(Behaviour(failures=(Status(500, probability=0.2),)))
    for _ in range(20):
        await lab.chat()
    await lab.chat(stream=True)
    lab.models["priced"].set(Behaviour())
    jobs = [submit(lab.api, "embed", {"text": "hello"}) for _ in range(5)]
    for _, _, record in await asyncio.gather(*jobs):
        assert (await ended(lab.api, record["id"]))["status"] == "succeeded"
    async with batches_of(lab.stack) as batches:
        batch = await batches.run(chat_lines(30))
        assert batch["request_counts"]["completed"] == 30

    by_name = {row["deployment"]: row for row in await lab.agreed() if not row["idle"]}
    priced, shadow = by_name["priced"], by_name["shadow"]
    assert priced["requests"] == sum(priced["outcomes"].values())
    assert priced["outcomes"]["failed"] > 0
    assert priced["input_tokens"] > 0 < priced["output_tokens"]
    assert Decimal(priced["cost"]) == (
        INPUT * priced["input_tokens"] + OUTPUT * priced["output_tokens"]
    )
    assert priced["currency"] == "EUR"
    assert shadow["mirrored"] == shadow["requests"] > 0
    assert Decimal(shadow["cost"]) == 0, "the tenant did not ask for it"


async def test_rows_of_any_grouping_sum_up_to_the_same(lab):
    await lab.agreed()
    whole = await lab.usage()
    requests, seconds = sum(row["requests"] for row in whole), sum(row["seconds"] for row in whole)
    assert {row["idle"] for row in whole} == {True, False}
    for grouping in ("tenant", "model,deployment", "tenant,model,deployment,version,flow,day"):
        rows = await lab.usage(f"?group_by={grouping}")
        assert sum(row["requests"] for row in rows) == requests
        assert sum(row["seconds"] for row in rows) == pytest.approx(seconds)
        used = [Decimal(row["cost"]) for row in rows if row["model"] != "embed"]
        if "model" in grouping:
            assert sum(used) == sum(
                INPUT * row["input_tokens"] + OUTPUT * row["output_tokens"]
                for row in rows
                if row["deployment"] == "priced"
            )


async def test_a_dedicated_deployment_costs_its_hours_and_says_what_was_idle(lab):
    now = datetime.now(UTC)
    yesterday = (now - timedelta(days=1)).date()
    [row] = await lab.usage(f"?from={yesterday}&to={now.date()}&group_by=tenant,deployment")
    assert (row["tenant"], row["deployment"], row["idle"]) == (None, "owned", True)
    assert Decimal(row["cost"]) == Decimal("3.2") * 2 * 24
    rows = await lab.usage(f"?from={now.date()}&group_by=tenant,deployment,flow")
    owned = [row for row in rows if row["deployment"] == "owned"]
    used, idle = [each for each in owned if not each["idle"]], [r for r in owned if r["idle"]]
    assert [row["flow"] for row in used] == ["embed"]
    assert len(idle) == 1
    assert 0 < Decimal(used[0]["cost"]) < Decimal(idle[0]["cost"])


async def test_flows_and_versions_are_told_apart(lab):
    lab.models["free"].set(Behaviour(latency=Constant(ms=5)))
    rows = await lab.usage("?group_by=model,version,flow")
    assert ("chat", "v1", None) in {(row["model"], row["version"], row["flow"]) for row in rows}
    assert ("embed", None, "embed") in {(row["model"], row["version"], row["flow"]) for row in rows}


@pytest.mark.parametrize("query", ["&format=csv", ""])
async def test_as_csv_it_has_the_columns_of_focus(lab, query):
    rows = await lab.usage(f"?group_by=tenant,model,deployment,day{query}", accept="text/csv")
    [priced] = [row for row in rows if row["ResourceName"] == "priced"]
    today = datetime.now(UTC).date()
    assert priced["SubAccountId"] == "default"
    assert (priced["ServiceName"], priced["BillingCurrency"]) == ("chat", "EUR")
    assert priced["ChargePeriodStart"] == f"{today}T00:00:00Z"
    assert priced["ChargePeriodEnd"] == f"{today + timedelta(days=1)}T00:00:00Z"
    assert Decimal(priced["BilledCost"]) == Decimal(priced["EffectiveCost"]) > 0
    [idle] = [
        row for row in rows if row["x_Idle"] == "true" and row["ChargePeriodStart"] >= f"{today}"
    ]
    assert (idle["SubAccountId"], idle["ResourceName"]) == ("", "owned")


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "from=2030-02-30",
        "from=2030-01-02&to=2030-01-01",
        "from=2030-01-01&to=2032-01-01",
        "from=1970-01-01",
        "group_by=price",
        "format=xml",
    ],
)
async def test_what_cannot_be_asked_is_told(lab, query):
    async with lab.api.get(f"/v1/usage?{query}") as response:
        assert response.status == 400
        problem = await response.json()
    assert problem["errors"][0]["field"] in query


async def test_usage_holds_no_prompt(lab):
    from azure.storage.blob.aio import BlobServiceClient

    async with BlobServiceClient.from_connection_string(lab.stack.blob) as service:
        container = service.get_container_client("sluice-ledger")
        names = [blob.name async for blob in container.list_blobs()]
        assert any(name.startswith("usage/") for name in names)
        for name in names:
            content = await (await container.download_blob(name)).readall()
            assert b"confidential" not in content
