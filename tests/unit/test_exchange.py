"""When workers exchange what they know, and what becomes of calls when they cannot."""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
from durabletask.entities import EntityInstanceId

from contracts.errors import SluiceError
from contracts.sharing import SharedModel, WorkerReport
from endpoints.sharing import Sharing
from orchestrators.standing import merged
from tests.unit.endpoints_fakes import CALL, ScriptedWire, at_least_once, endpoints, reply
from tests.unit.virtual_time import run_in_virtual_time
from wiring.exchange import EVERY_SECONDS, Exchange, read_shared, standing_of, worker_name

BINDING = json.dumps({"taskHubName": "hub", "rpcBaseUrl": "http://localhost:1", "baseUrl": "x"})


@dataclass
class State:
    text: str

    def get_state(self) -> str:
        return self.text


@dataclass
class FakeHub:
    """Behaves as a durable client with the entities behind it."""

    states: dict[str, SharedModel] = field(default_factory=dict)
    reports: list[tuple[float, str]] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    closed: int = 0
    reads: int = 0
    fails: type[Exception] | None = None
    hangs: bool = False

    def open(self, binding: str) -> FakeHub:
        self.opened.append(binding)
        return self

    async def signal_entity(
        self, entity_instance_id: EntityInstanceId, operation_name: str, input: Any = None
    ) -> None:
        assert operation_name == "report"
        key = entity_instance_id.key
        self.reports.append((asyncio.get_running_loop().time(), key))
        if self.hangs:
            await asyncio.sleep(3600)
        if self.fails is not None:
            raise self.fails("no hub")
        report = WorkerReport.model_validate(input)
        self.states[key] = merged(self.states.get(key, SharedModel()), report)

    async def get_entity(self, entity_instance_id: EntityInstanceId) -> Any:
        self.reads += 1
        state = self.states.get(entity_instance_id.key)
        return None if state is None else State(state.model_dump_json())

    async def close(self) -> None:
        self.closed += 1

    def times(self) -> list[float]:
        return [time for time, _ in self.reports]


class Worker:
    """Its clock is the loop's."""

    def __init__(self, hub: FakeHub, name: str = "w", **fields: object) -> None:
        self.wire = ScriptedWire()
        self.made = endpoints(self.wire, "d", **fields)
        self.sharings: dict[str, Sharing] = self.made.share(name)
        self.exchange = Exchange(self.sharings, hub.open)

    async def call(self, *replies: Any) -> None:
        for each in replies:
            self.wire.plays(d=[each])
            with suppress(SluiceError):
                await self.made.invoke(CALL, at_least_once())

    async def passes(self, seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            await asyncio.sleep(0.05)
            self.wire.clock.advance(0.05)


def test_a_model_is_exchanged_each_second_while_it_is_used():
    async def run() -> None:
        hub = FakeHub()
        worker = Worker(hub)
        worker.exchange.begin(BINDING)
        await worker.passes(3)
        assert hub.reports == [], "nobody uses it"
        await worker.call(reply(200, {}))
        await worker.passes(10)
        times = hub.times()
        assert len(times) >= 8
        assert min(b - a for a, b in pairwise(times)) > EVERY_SECONDS - 0.01
        await worker.passes(100)
        assert hub.times()[-1] < 75, "a minute after it was last used that ends"
        await worker.exchange.aclose()
        assert hub.closed == 1

    run_in_virtual_time(run())


def test_of_many_workers_each_reports_less_often_and_reads_as_often():
    async def run() -> None:
        hub = FakeHub()
        worker = Worker(hub)
        others = [Worker(hub, f"other-{number}") for number in range(79)]
        for other in others:
            report = other.sharings["m"].report()
            hub.states["m"] = merged(hub.states.get("m", SharedModel()), report)
        worker.exchange.begin(BINDING)
        await worker.call(reply(200, {}))
        await worker.passes(21)
        assert 5 <= len(hub.reports) <= 7, "one in four seconds"
        assert hub.reads >= 17
        await worker.exchange.aclose()

    run_in_virtual_time(run())


def test_what_breaks_is_told_at_once():
    async def run() -> None:
        hub = FakeHub()
        worker = Worker(hub)
        worker.exchange.begin(BINDING)
        await worker.call(reply(200, {}))
        await worker.passes(2.5)
        before = asyncio.get_running_loop().time()
        await worker.call(reply(503), reply(503), reply(503))
        await worker.passes(0.5)
        told = hub.states["m"].deployments["d"].breaker
        assert told is not None and told.until is not None
        assert min(time for time in hub.times() if time >= before) - before <= 0.3
        await worker.exchange.aclose()

    run_in_virtual_time(run())


def test_what_comes_back_is_applied():
    async def run() -> None:
        hub = FakeHub()
        worker = Worker(hub, max_concurrency=40)
        worker.exchange.begin(BINDING)
        calls = worker.made._models["m"].deployments[0].standing.calls_at_once
        assert calls.cap == 4
        await worker.passes(0.5)
        assert calls.cap == 40
        await worker.exchange.aclose()

    run_in_virtual_time(run())


@pytest.mark.parametrize("how", [{"fails": ConnectionError}, {"hangs": True}])
def test_without_the_hub_calls_go_on_and_the_log_says_so_once(caplog, how):
    async def run() -> None:
        hub = FakeHub(**how)
        worker = Worker(hub, max_concurrency=40)
        worker.exchange.begin(BINDING)
        await worker.passes(20)
        assert 2 <= len(hub.reports) <= 25
        worker.wire.plays(d=[reply(200, {"a": 1})])
        assert (await worker.made.invoke(CALL, at_least_once())).body == {"a": 1}
        hub.fails, hub.hangs = None, False
        await worker.passes(8)
        await worker.exchange.aclose()

    with caplog.at_level(logging.INFO, "sluice.wiring"):
        run_in_virtual_time(run())
    said = [record.getMessage() for record in caplog.records if record.name == "sluice.wiring"]
    assert len(said) == 2
    assert "goes on alone" in said[0]
    assert "reached again" in said[1]


def test_one_client_is_made_however_often_a_binding_comes():
    async def run() -> None:
        hub = FakeHub()
        worker = Worker(hub)
        same = json.dumps({**json.loads(BINDING), "baseUrl": "another"})
        for binding in (BINDING, BINDING, same, BINDING):
            worker.exchange.begin(binding)
            await worker.passes(0.2)
        assert len(hub.opened) == 1
        worker.exchange.begin(BINDING.replace(":1", ":2"))
        await worker.passes(0.2)
        assert len(hub.opened) == 2
        assert hub.closed == 1
        await worker.exchange.aclose()

    run_in_virtual_time(run())


async def test_a_client_of_a_door_names_the_same_hub_as_a_binding():
    from azure.durable_functions import DurableFunctionsClient

    hub = FakeHub()
    worker = Worker(hub)
    worker.exchange.begin(BINDING)
    await asyncio.sleep(0)
    client = DurableFunctionsClient(BINDING)
    worker.exchange.begin(client)
    await client.close()
    await asyncio.sleep(0)
    assert len(hub.opened) == 1
    await worker.exchange.aclose()


async def test_what_nobody_has_reported_is_none():
    assert await read_shared(FakeHub(), "m") is None


def test_a_models_name_can_be_a_key():
    assert str(standing_of("meta/llama-3:8b")) == "@standing@meta~llama-3:8b"


def test_no_two_workers_have_one_name():
    assert worker_name() != worker_name()
