"""kill -9 of each part of the stack while jobs arrive: nothing lost, doubled or left behind."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.faults.leftovers import clean_stack
from tests.faults.storm import Outcome, Storm

# The SDK leaves the sockets of connections that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def check(outcome: Outcome) -> None:
    print(
        f"{outcome.sent} jobs, {outcome.kills} kills: {dict(outcome.statuses)},"
        f" {len(outcome.ids)} ids, replies {dict(outcome.replies_of_each)},"
        f" {outcome.seconds:.0f} s"
    )
    assert outcome.statuses == Counter(succeeded=outcome.sent), "every accepted job ends"
    assert len(outcome.ids) == outcome.sent, "every request is one job of its own"
    assert set(outcome.replies_of_each) <= {1}, "no message has two replies"


@pytest.mark.parametrize(
    "victim",
    [
        "host+hub",
        pytest.param("host", marks=pytest.mark.long),
        pytest.param("azurite", marks=pytest.mark.long),
    ],
)
async def test_a_few_kills_under_jobs_over_http(victim):
    async with clean_stack(longest_delay_seconds=1.0) as running:
        storm = Storm(running, jobs=40, kills=3, victims=(victim,), seed=1, service_bus=False)
        check(await storm.run())


@pytest.mark.parametrize("victim", ["service_bus", pytest.param("hub", marks=pytest.mark.long)])
async def test_a_few_kills_under_jobs_over_both_doors(victim):
    async with clean_stack(longest_delay_seconds=1.0) as running:
        check(await Storm(running, jobs=40, kills=3, victims=(victim,), seed=1).run())


@pytest.mark.long
async def test_20_kills_of_the_host_while_400_jobs_arrive():
    async with clean_stack(longest_delay_seconds=1.0) as running:
        check(await Storm(running, jobs=400, kills=20, victims=("host",), seed=2).run())


@pytest.mark.long
async def test_kills_of_every_part_while_400_jobs_arrive():
    victims = ("service_bus", "azurite", "embed", "hub", "host+service_bus", "hub+azurite")
    async with clean_stack(longest_delay_seconds=1.0) as running:
        check(await Storm(running, jobs=400, kills=12, victims=victims, seed=3).run())
