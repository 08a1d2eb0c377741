"""Work items: so many at a time, each answered or handed back, whatever happens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata

from devhost.functions_host import work_lane
from devhost.functions_host.work_lane import Lane, LaneCalls


def rpc_error(code: grpc.StatusCode) -> AioRpcError:
    return AioRpcError(code, Metadata(), Metadata(), details="as the test says")


@dataclass
class Reply:
    request: str
    completionToken: str = ""  # noqa: N815 - the service's name


@dataclass
class Hub:
    """The far side: what it was told, and what goes wrong there."""

    completed: dict[str, str] = field(default_factory=dict)
    handed_back: list[str] = field(default_factory=list)
    failures: list[grpc.StatusCode] = field(default_factory=list)

    async def complete(self, reply: Reply) -> None:
        if self.failures:
            raise rpc_error(self.failures.pop(0))
        self.completed[reply.completionToken] = reply.request

    async def hand_back(self, token: str) -> None:
        self.handed_back.append(token)


class Work:
    """Runs until released, and counts."""

    def __init__(self):
        self.release = asyncio.Event()
        self.running = self.most = 0

    async def __call__(self, request: str) -> Reply:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.release.wait()
        finally:
            self.running -= 1
        return Reply(request)


@pytest.fixture
def hub():
    return Hub()


def lane_of(hub, run, limit=2) -> Lane:
    return Lane("items", limit, LaneCalls(run, hub.complete, hub.hand_back))


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def test_each_item_is_answered_under_its_token_and_no_more_run_than_allowed(hub):
    work = Work()
    lane = lane_of(hub, work)
    for number in range(5):
        lane.submit(f"t{number}", f"r{number}")
    await settle()
    assert (lane.in_hand, work.running) == (5, 2)
    work.release.set()
    await settle()
    assert (lane.in_hand, work.most) == (0, 2)
    assert hub.completed == {f"t{number}": f"r{number}" for number in range(5)}


async def test_draining_hands_back_what_waits_and_waits_for_what_runs(hub):
    work = Work()
    lane = lane_of(hub, work)
    for number in range(4):
        lane.submit(f"t{number}", "r")
    await settle()
    draining = asyncio.create_task(lane.drain(5))
    await settle()
    work.release.set()
    await draining
    assert sorted(hub.completed) == ["t0", "t1"]
    assert sorted(hub.handed_back) == ["t2", "t3"]
    assert lane.in_hand == 0


async def test_draining_hands_back_what_outlasts_the_grace(hub):
    lane = lane_of(hub, Work())
    for number in range(3):
        lane.submit(f"t{number}", "r")
    await settle()
    await lane.drain(0.01)
    assert sorted(hub.handed_back) == ["t0", "t1", "t2"]
    assert hub.completed == {}


async def test_an_item_that_came_in_just_before_is_handed_back_too(hub):
    lane = lane_of(hub, Work())
    lane.submit("t0", "r")  # its task has not taken its first step
    await lane.drain(0.01)
    assert hub.handed_back == ["t0"]


async def test_draining_an_empty_lane_returns(hub):
    await lane_of(hub, Work()).drain(5)
    assert hub.handed_back == []


async def test_an_answer_is_kept_until_the_hub_is_back(hub, monkeypatch):
    monkeypatch.setattr(work_lane, "_FIRST_PAUSE_SECONDS", 0.001)
    hub.failures = [grpc.StatusCode.UNAVAILABLE] * 3
    work = Work()
    work.release.set()
    lane = lane_of(hub, work)
    lane.submit("t0", "r")
    while lane.in_hand:
        await asyncio.sleep(0.001)
    assert hub.completed == {"t0": "r"}


async def test_an_answer_that_the_hub_refuses_is_logged_and_not_tried_again(hub, caplog):
    hub.failures = [grpc.StatusCode.RESOURCE_EXHAUSTED]
    work = Work()
    work.release.set()
    lane = lane_of(hub, work)
    lane.submit("t0", "r")
    await settle()
    assert (lane.in_hand, hub.completed) == (0, {})
    assert "The hub refused an answer of items: as the test says" in caplog.text


async def test_a_hub_that_is_gone_does_not_keep_a_lane_from_draining(hub, caplog):
    async def gone(token):
        raise rpc_error(grpc.StatusCode.UNAVAILABLE)

    lane = Lane("items", 1, LaneCalls(Work(), hub.complete, gone))
    lane.submit("t0", "r")
    await settle()
    await lane.drain(0.01)
    assert "Could not hand back work of items: UNAVAILABLE" in caplog.text


async def test_a_fault_of_the_lane_itself_is_logged(hub, caplog):
    async def broken(request):
        raise KeyError("unforeseen")

    lane = lane_of(hub, broken)
    lane.submit("t0", "r")
    await settle()
    assert lane.in_hand == 0
    assert "unforeseen" in caplog.text
