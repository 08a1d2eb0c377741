"""What a tenant's workers share goes through an entity of its own, beside the models'."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from durabletask.entities import EntityInstanceId

from contracts.errors import QuotaReached
from contracts.quotas import QuotaReport, SharedTenant
from orchestrators.quotas import merged
from tests.unit.quota_fakes import asks, call, quotas
from tests.unit.virtual_time import run_in_virtual_time
from wiring.exchange import Exchange, quota_of

BINDING = json.dumps({"taskHubName": "hub", "rpcBaseUrl": "http://localhost:1"})


@dataclass
class State:
    text: str

    def get_state(self) -> str:
        return self.text


@dataclass
class FakeHub:
    """Behaves as a durable client with the tenants' entities behind it."""

    states: dict[str, SharedTenant] = field(default_factory=dict)
    reports: Counter[str] = field(default_factory=Counter)
    away: bool = False

    def open(self, binding: str) -> FakeHub:
        return self

    async def signal_entity(
        self, entity_instance_id: EntityInstanceId, operation_name: str, input: Any = None
    ) -> None:
        if self.away:
            raise ConnectionError("no hub")
        assert operation_name == "report"
        name = str(entity_instance_id)
        self.reports[name] += 1
        report = QuotaReport.model_validate(json.loads(json.dumps(input)))
        self.states[name] = merged(self.states.get(name, SharedTenant()), report)

    async def get_entity(self, entity_instance_id: EntityInstanceId) -> Any:
        state = self.states.get(str(entity_instance_id))
        return None if state is None else State(state.model_dump_json())

    async def close(self) -> None: ...


def test_a_tenants_reports_begin_with_its_calls_and_end_a_minute_after_them():
    async def run() -> None:
        hub = FakeHub()
        kept = quotas(requests_per_minute=10, tokens_per_day=100)
        exchange = Exchange({}, hub.open, tenants=kept.share("w"))
        exchange.begin(BINDING)
        await asyncio.sleep(30)
        assert hub.reports == {}, "nobody calls"
        began = asyncio.get_running_loop().time()
        await kept.reserve(call(tokens=10), asks(patience=10))
        assert asyncio.get_running_loop().time() - began < 0.5
        await asyncio.sleep(5)
        name = str(quota_of("t"))
        assert name == "@quota@t"
        assert hub.reports.keys() == {name}
        assert 5 <= hub.reports[name] <= 7
        assert hub.states[name].budgets["tokens_per_day"].spent == 10
        await asyncio.sleep(120)
        assert hub.states[name].workers == {}
        assert hub.reports[name] < 70
        await exchange.aclose()

    run_in_virtual_time(run())


def test_without_the_hub_calls_go_on_with_a_tenth():
    async def run() -> None:
        hub = FakeHub(away=True)
        kept = quotas(requests_per_minute=50)
        exchange = Exchange({}, hub.open, tenants=kept.share("w"))
        exchange.begin(BINDING)
        for _ in range(5):
            await kept.reserve(call(), asks(patience=10))
        assert asyncio.get_running_loop().time() < 4
        with pytest.raises(QuotaReached):
            await kept.reserve(call(), asks(patience=10))
        hub.away = False
        await asyncio.sleep(3)
        for _ in range(45):
            await kept.reserve(call(), asks(patience=10))
        await exchange.aclose()

    run_in_virtual_time(run())
