"""What identity, quotas, screening and the ledger cost a real-time call.

Two stacks ask the same simulated chat deployment, which answers at once and lives in a process of
its own. One knows no tenants. The other has all of it on: the caller comes with an API key, has
limits of requests and tokens a minute and of tokens and money a day and a month, and every local
screen is on. Both keep a ledger, so its cost is found in process: the router with and without it.

    door, no tenants     POST /v1/chat/completions with the function key
    door, tenants        the same with an API key, quotas and screens
    router               Endpoints.invoke in process
    router, ledger       the same, each call noted and recorded in a journal on disk

They take turns round by round. `added_ms` is the difference of the medians to the system without,
in the same round; medians over rounds.

    ./dev bench policies [--rounds 7] [--seconds 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, cast

import uvloop

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from contracts.calls import ModelCall, Task  # noqa: E402
from contracts.identity import Role  # noqa: E402
from contracts.keys import new_key  # noqa: E402
from devhost.inference.simulated import simulated_process  # noqa: E402
from devhost.stack.running import Stack  # noqa: E402
from endpoints import Endpoints  # noqa: E402
from endpoints.context import Context  # noqa: E402
from endpoints.settings import Settings  # noqa: E402
from ledger.journal import Journal  # noqa: E402
from ledger.ledger import Ledger  # noqa: E402
from ledger.prices import Prices  # noqa: E402
from stores.blobs import Container, StorageAccount  # noqa: E402
from stores.keys import KeyStore, StoredKey  # noqa: E402
from stores.ledger import LedgerStore  # noqa: E402
from tests.bench.app_doors import running_app  # noqa: E402
from tests.bench.model_clients import bare_aiohttp, check, our_door, scope  # noqa: E402
from tests.bench.peers.calls import MODEL, PAYLOAD, Call, Metrics, Take, take_turn  # noqa: E402
from tests.bench.report import Goal, Report, Row, medians  # noqa: E402
from tests.unit.ledger_fakes import LedgerContainer  # noqa: E402

CONCURRENT = (1, 32)
ADDED_MS = 1.0
BARE, GUARDED = "door, no tenants", "door, tenants"
ROUTER, BOOKED = "router", "router, ledger"
WITHOUT = {GUARDED: BARE, BOOKED: ROUTER}

TENANTS = """
tenants:
  bench:
    quotas:
      requests_per_minute: 10000000
      tokens_per_minute: 1000000000
      tokens_per_day: 1000000000000
      tokens_per_month: 1000000000000
      money_per_day: 1000000000
      money_per_month: 1000000000
    screening:
      size: {decision: block}
      rate: {decision: flag}
      repetition: {decision: flag}
      key_sharing: {decision: flag}
      injection: {decision: block}
"""


@asynccontextmanager
async def guarded_door(url: str) -> AsyncIterator[Call]:
    async with running_app(url, TENANTS) as running:
        secret = await issued(running)
        key = {"authorization": f"Bearer {secret}"}
        async with bare_aiohttp(f"{running.http}/v1", key) as call:
            yield call


async def issued(running: Stack) -> str:
    """An API key that the stack's storage knows."""
    made = new_key()
    async with StorageAccount(connection_string=running.blob).open() as blobs:
        await KeyStore(Container(lambda: blobs, "sluice-keys")).add(
            StoredKey(
                id=made.id,
                tenant="bench",
                roles=frozenset(Role),
                digest=made.digest,
                created_at=datetime.now(UTC),
                created_by="bench",
            )
        )
    return made.text


@asynccontextmanager
async def bare_door(url: str) -> AsyncIterator[Call]:
    async with running_app(url) as running, our_door(running) as call:
        yield call


@asynccontextmanager
async def router(url: str, *, booked: bool) -> AsyncIterator[Call]:
    with tempfile.TemporaryDirectory() as folder:
        store = LedgerStore(cast(Any, LedgerContainer()))
        ledger = Ledger(Journal(Path(folder), "bench", 200_000_000), store, Prices({}))
        context = Context(begun=ledger.begun, meter=ledger.meter) if booked else Context()
        deployment = {"name": "d", "protocol": "openai", "url": url, "model": MODEL}
        settings = Settings.model_validate({"models": {MODEL: {"deployments": [deployment]}}})
        models = Endpoints(settings, context=context)
        asked = ModelCall(MODEL, Task.CHAT, PAYLOAD)

        async def call() -> None:
            check((await models.invoke(asked, scope())).body)

        try:
            yield call
        finally:
            await models.aclose()
            await ledger.aclose()


async def measure(url: str, rounds: int, seconds: float) -> dict[int, dict[str, list[Metrics]]]:
    """By the number of callers, of each system each round."""
    systems = {
        BARE: bare_door(url),
        GUARDED: guarded_door(url),
        ROUTER: router(url, booked=False),
        BOOKED: router(url, booked=True),
    }
    found: dict[int, dict[str, list[Metrics]]] = {}
    async with AsyncExitStack() as stack:
        takes: dict[str, Take] = {}
        for name, system in systems.items():
            takes[name] = partial(take_turn, await stack.enter_async_context(system))
        for concurrent in CONCURRENT:
            mine = found[concurrent] = {name: [] for name in takes}
            for index in range(rounds + 1):
                for name, take in takes.items():
                    metrics = await take(concurrent, seconds)
                    if index:  # the first round warms up
                        mine[name].append(metrics)
            say(f"{concurrent} callers: done")
    return found


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def summary(found: dict[int, dict[str, list[Metrics]]]) -> Report:
    report = Report()
    for concurrent, systems in found.items():
        for name, without in WITHOUT.items():
            for mine, other in zip(systems[name], systems[without], strict=True):
                mine["added_ms"] = mine["p50_ms"] - other["p50_ms"]
        for name, each in systems.items():
            report.rows.append(Row(name, f"{concurrent} callers", medians(each)))
    alone = found[1]
    added = sum(median(each["added_ms"] for each in alone[name]) for name in WITHOUT)
    what = "ms at p50 that identity, quotas, screening and ledger add to a call"
    report.goals.append(Goal.at_most(what, added, ADDED_MS))
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--json", type=Path, metavar="FILE")
    told = parser.parse_args()

    async def run() -> Report:
        with simulated_process(MODEL) as base:
            return summary(await measure(f"{base}/{MODEL}/v1", told.rounds, told.seconds))

    uvloop.run(run()).publish(told.json)


if __name__ == "__main__":
    main()
