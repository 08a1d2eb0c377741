"""A request whose body arrives, and a caller who leaves."""

from __future__ import annotations

import asyncio

import pytest

from contracts.errors import PayloadTooLarge
from tests.unit.http_fakes import Caller, asked
from triggers.http import CallerLeft, Request, unless_left


@pytest.mark.parametrize("pieces", [[b""], [b"one"], [b"one", b"two", b""]])
async def test_a_body_is_read_whole(pieces):
    assert await Request(asked(body=pieces)).body(6) == b"".join(pieces)


async def test_a_body_is_read_in_pieces_as_they_arrive():
    pieces = [piece async for piece in Request(asked(body=[b"one", b"", b"two"])).stream()]
    assert pieces == [b"one", b"two"]


async def test_of_a_body_past_the_limit_no_more_is_read_than_shows_it():
    caller = Caller()
    request = Request(asked(body=[b"one", b"two", b"three"], caller=caller))
    with pytest.raises(PayloadTooLarge, match="at most 5 bytes"):
        await request.body(5)
    assert caller.pieces == [b"three"]


async def test_of_a_body_that_is_announced_past_the_limit_nothing_is_read():
    caller = Caller()
    request = Request(asked(body=b"x" * 10, headers={"Content-Length": "10"}, caller=caller))
    with pytest.raises(PayloadTooLarge, match="at most 9 bytes"):
        await request.body(9)
    assert caller.pieces
    assert await request.body(10) == b"x" * 10


async def test_a_caller_who_leaves_before_the_end_of_the_body_has_left():
    caller = Caller()
    request = Request(asked(body=b"", caller=caller))
    caller.pieces.clear()
    caller.gone.set()
    with pytest.raises(CallerLeft):
        await request.body(9)


async def test_the_head_is_as_the_worker_gives_it():
    request = Request(
        asked(
            "PATCH",
            "/v1/things/7",
            headers={"X-Tag": "red"},
            query={"limit": "3"},
            route_params={"id": "7"},
        )
    )
    assert (request.method, request.path) == ("PATCH", "/v1/things/7")
    assert request.headers["x-TAG"] == "red"
    assert request.query.get("limit") == "3"
    assert request.route_params["id"] == "7"


async def test_work_ends_with_its_result_while_the_caller_waits():
    async def work() -> str:
        await asyncio.sleep(0)
        return "done"

    request = Request(asked())
    await request.body(0)
    assert await unless_left(request, work()) == "done"


async def test_what_the_work_raises_is_raised():
    async def work() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        await unless_left(Request(asked()), work())


async def test_work_is_cancelled_when_the_caller_leaves():
    caller = Caller()
    request = Request(asked(caller=caller))
    await request.body(0)
    cleaned = []

    async def work() -> None:
        try:
            caller.gone.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)  # what is cancelled may still take its leave
            cleaned.append(True)

    with pytest.raises(CallerLeft):
        await unless_left(request, work())
    assert cleaned


async def test_work_is_cancelled_with_who_waits_for_it():
    began, cleaned = asyncio.Event(), []

    async def work() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    request = Request(asked())
    await request.body(0)
    waiting = asyncio.create_task(unless_left(request, work()))
    await began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cleaned
