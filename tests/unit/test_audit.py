"""The audit log: written before the deed, never over, listed newest first."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wiring
from contracts.audit import AuditAction, AuditEvent, AuditOutcome
from contracts.errors import Conflict, DependencyUnavailable
from contracts.identity import Identity, Role
from contracts.ids import is_audit_id, new_audit_id, time_of
from stores.audit import AuditLog, AuditQuery
from stores.refusals import PAUSE_SECONDS, Refusals
from tests.unit.fakes import MemoryContainer
from tests.unit.http_fakes import asked
from tests.unit.virtual_time import run_in_virtual_time
from triggers import audit as door

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
OPERATOR = Identity("ops", "key:1", frozenset(Role))
ALWAYS = AuditQuery(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))


class World:
    """A log whose clock the test sets."""

    def __init__(self) -> None:
        self.now = NOON
        self.container = MemoryContainer()
        self.log = AuditLog(cast(Any, self.container), lambda: self.now)

    async def note(self, hours: float = 0, who: Identity = OPERATOR, **detail: Any) -> AuditEvent:
        self.now = NOON + timedelta(hours=hours)
        return await self.log.note(who, AuditAction.JOB_CANCELLED, "job_1", **detail)

    async def events(self, asked: AuditQuery = ALWAYS, most: int = 100) -> list[AuditEvent]:
        return (await self.log.page(asked, most))[0]


@pytest.fixture
def it() -> World:
    return World()


# Kept.


async def test_an_event_is_one_blob_of_its_day(it):
    event = await it.note(reason="why")
    [(name, content)] = it.container.blobs.items()
    assert name == f"audit/2026-03-02/{event.id}"
    assert AuditEvent.model_validate_json(content) == event
    assert (event.tenant, event.subject, event.target) == ("ops", "key:1", "job_1")
    assert (event.outcome, event.detail) == ("accepted", {"reason": "why"})
    assert is_audit_id(event.id)


async def test_an_event_is_never_written_over(it):
    event = await it.note()
    await it.log.write(event.model_copy(update={"target": "another"}))
    assert [each.target for each in await it.events()] == ["job_1"]


async def test_what_was_done_is_noted_before_and_only_before(it):
    async with it.log.recorded(OPERATOR, AuditAction.FILE_DELETED, "file-1"):
        [event] = await it.events()
        assert event.outcome is AuditOutcome.ACCEPTED
    assert await it.events() == [event]


@pytest.mark.parametrize(
    ("error", "code"), [(Conflict("no"), "conflict"), (ValueError("a secret"), "internal_error")]
)
async def test_what_fails_is_noted_once_more_without_its_message(it, error, code):
    with pytest.raises(type(error)):
        async with it.log.recorded(OPERATOR, AuditAction.FILE_DELETED, "file-1"):
            it.now += timedelta(seconds=1)
            raise error
    failed, accepted = await it.events()
    assert (failed.outcome, failed.target) == ("failed", "file-1")
    assert failed.detail == {"event": accepted.id, "code": code}


async def test_what_cannot_be_noted_is_not_done(it):
    it.container.down = True
    done = False
    with pytest.raises(DependencyUnavailable):
        async with it.log.recorded(OPERATOR, AuditAction.FILE_DELETED, "file-1"):
            done = True
    assert not done


async def test_a_failure_that_cannot_be_noted_is_told_all_the_same(it):
    with pytest.raises(Conflict):
        async with it.log.recorded(OPERATOR, AuditAction.FILE_DELETED, "file-1"):
            it.container.down = True
            raise Conflict("no")


# Listed.


async def test_the_newest_come_first_over_days_and_months(it):
    for hours in (0, -13, 0.001, 24 * 40, -24 * 30, 5):
        await it.note(hours, offset=hours)
    assert [each.detail["offset"] for each in await it.events()] == [960, 5, 0.001, 0, -13, -720]


@given(st.lists(st.integers(0, 7 * 24 * 60), max_size=20), st.integers(1, 4))
def test_pages_follow_each_other(minutes, most):
    async def run() -> None:
        it = World()
        for minute in minutes:
            await it.note(minute / 60)
        whole, seen, after, more = await it.events(), [], None, True
        while more:
            asked = AuditQuery(ALWAYS.since, ALWAYS.until, after=after)
            page, more = await it.log.page(asked, most)
            seen += page
            after = page[-1].id if page else None
        assert seen == whole
        assert [each.at for each in whole] == sorted((each.at for each in whole), reverse=True)
        assert len(whole) == len(minutes)

    asyncio.run(run())


async def test_from_is_part_of_a_period_and_until_is_not(it):
    for hours in (-1, 0, 23, 24):
        await it.note(hours, offset=hours)
    found = await it.events(AuditQuery(NOON, NOON + timedelta(days=1)))
    assert [each.detail["offset"] for each in found] == [23, 0]


async def test_a_tenant_and_an_action_alone(it):
    other = Identity("research", "key:2", frozenset({Role.SUBMIT}))
    await it.note(0)
    await it.note(1, other)
    await it.log.note(other, AuditAction.BATCH_CANCELLED, "batch_1")
    theirs = AuditQuery(ALWAYS.since, ALWAYS.until, tenant="research")
    assert {each.target for each in await it.events(theirs)} == {"job_1", "batch_1"}
    both = AuditQuery(
        ALWAYS.since, ALWAYS.until, tenant="research", action=AuditAction.JOB_CANCELLED
    )
    assert [each.subject for each in await it.events(both)] == ["key:2"]


async def test_an_event_that_is_too_long_for_the_list_is_read_from_its_blob(it):
    event = await it.note(names=["a" * 100] * 100)
    [metadata] = it.container.metadata.values()
    assert metadata == {}
    assert await it.events() == [event]


@given(st.datetimes(datetime(1970, 1, 2), datetime(5000, 1, 1)), st.text(max_size=5))
def test_an_id_tells_its_time_and_is_the_same_for_a_seed(naive, seed):
    at = naive.replace(tzinfo=UTC)
    made = new_audit_id(at, seed)
    assert made == new_audit_id(at, seed)
    assert is_audit_id(made)
    assert abs(time_of(made) - at) <= timedelta(milliseconds=1)


# Callers who were refused.


def test_refused_callers_are_counted_once_a_minute():
    async def run() -> None:
        it = World()
        refusals = Refusals(it.log, "worker-1")
        for _ in range(1000):
            refusals.count("unauthenticated")
        refusals.count("forbidden")
        await asyncio.sleep(PAUSE_SECONDS + 1)
        [content] = it.container.blobs.values()
        event = AuditEvent.model_validate_json(content)
        assert event.detail == {"unauthenticated": 1000, "forbidden": 1}
        assert (event.action, event.tenant, event.target) == ("callers.refused", None, "worker-1")
        refusals.count("forbidden")
        await asyncio.sleep(PAUSE_SECONDS + 1)
        assert len(it.container.blobs) == 2

    run_in_virtual_time(run())


def test_none_is_lost_while_storage_is_down():
    async def run() -> None:
        it = World()
        refusals = Refusals(it.log, "worker-1")
        it.container.down = True
        refusals.count("forbidden")
        await asyncio.sleep(5 * PAUSE_SECONDS)
        refusals.count("forbidden")
        it.container.down = False
        await asyncio.sleep(2 * PAUSE_SECONDS)
        [content] = it.container.blobs.values()
        assert AuditEvent.model_validate_json(content).detail == {"forbidden": 2}

    run_in_virtual_time(run())


# The door.


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> World:
    it = World()
    parts = SimpleNamespace(audit=it.log, identities=None)
    monkeypatch.setattr(wiring, "parts", lambda: parts)
    return it


async def listed(**query: str) -> tuple[int, Any]:
    function = cast(Any, door.list_audit_events)._function._func
    response = await function(asked("GET", "/v1/audit", query=query))
    return response.status_code, json.loads(response.body)


async def test_a_page_says_whether_there_is_another(served):
    for minutes in range(3):
        await served.note(minutes / 60, minutes=minutes)
    period = {"from": "2026-03-01", "to": "2026-03-03"}
    _, first = await listed(**period, limit="2")
    assert ([each["detail"]["minutes"] for each in first["data"]], first["has_more"]) == (
        [2, 1],
        True,
    )
    _, last = await listed(**period, limit="2", after=first["next_after"])
    assert [each["detail"]["minutes"] for each in last["data"]] == [0]
    assert (last["has_more"], last["next_after"]) == (False, None)


async def test_without_a_period_it_is_the_last_thirty_days(served):
    now = datetime.now(UTC)
    for days in (0, 28, 32):
        served.now = now - timedelta(days=days)
        await served.log.note(OPERATOR, AuditAction.JOB_CANCELLED, str(days))
    _, page = await listed()
    assert [each["target"] for each in page["data"]] == ["0", "28"]


async def test_times_may_have_any_offset(served):
    await served.note()
    _, page = await listed(**{"from": "2026-03-02T14:00:00+02:00", "to": "2026-03-02T12:00:01Z"})
    assert len(page["data"]) == 1


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1001"}, "limit"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-03-02T12:00:00"}, "to"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "2020-01-01", "to": "2026-03-01"}, "from"),
        ({"from": "2100-01-01"}, "from"),
        ({"to": "0001-01-01T00:00:00+23:59"}, "to"),
        ({"action": "job.done"}, "action"),
        ({"after": "job_1"}, "after"),
    ],
)
async def test_what_cannot_be_listed(served, query, field):
    status, problem = await listed(**query)
    assert (status, problem["errors"][0]["field"]) == (400, field)


async def test_the_ends_of_the_calendar_are_no_fault(served):
    assert (await listed(to="0001-01-02"))[1]["data"] == []
    assert (await listed(to="9999-12-31"))[0] == 200


async def test_while_storage_is_down_it_says_so(served):
    served.container.down = True
    assert (await listed())[0] == 503
