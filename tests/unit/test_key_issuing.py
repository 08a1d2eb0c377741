"""API keys: issued with no more rights than their issuer has, rotated, revoked, and noted."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.audit import AuditEvent
from contracts.errors import (
    Conflict,
    DependencyUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
)
from contracts.identity import Identity, Role
from contracts.key_records import KeyRequest, KeyStatus, RotationRequest
from contracts.keys import read_key
from policies.key_issuing import Issued, KeyIssuing, status_of
from stores.audit import AuditLog
from stores.keys import KeyStore, StoredKey
from tests.unit.fakes import MemoryContainer

NOON = datetime(2030, 3, 2, 12, tzinfo=UTC)
OPERATOR = Identity("ops", "entra:1", frozenset(Role))
DAY = timedelta(days=1)
HOUR = RotationRequest(grace_seconds=3600)


class World:
    def __init__(self) -> None:
        self.now = NOON
        self.blobs, self.log = MemoryContainer(), MemoryContainer()
        self.store = KeyStore(cast(Any, self.blobs))
        audit = AuditLog(cast(Any, self.log), lambda: self.now)
        self.issuing = KeyIssuing(self.store, audit, lambda: self.now)

    async def issue(self, who: Identity = OPERATOR, **asked: Any) -> Issued:
        request = {"tenant": "research", "roles": ["submit", "read"]} | asked
        return await self.issuing.issue(who, KeyRequest.model_validate(request))

    def events(self) -> list[AuditEvent]:
        """The newest first."""
        found = [AuditEvent.model_validate_json(each) for each in self.log.blobs.values()]
        return sorted(found, key=lambda event: event.id)

    def status(self, key: StoredKey) -> KeyStatus:
        return status_of(key, self.now)


@pytest.fixture
def it() -> World:
    return World()


def caller(issued: Issued) -> Identity:
    """Who comes with this key; `models` as the tenant's own limits may have made them."""
    key = issued.key
    return Identity(key.tenant, f"key:{key.id}", key.roles, frozenset({"of the tenant"}))


# Issued.


async def test_a_key_is_kept_by_its_digest_alone(it):
    issued = await it.issue(note="the nightly run", models=["chat"])
    presented = read_key(issued.text)
    assert presented is not None
    assert (presented.id, presented.digest) == (issued.key.id, issued.key.digest)
    [(name, content)] = it.blobs.blobs.items()
    assert name == f"keys/{issued.key.id}"
    assert issued.text.removeprefix(f"sk-sluice-{issued.key.id}-") not in content.decode()
    kept = await it.store.get(issued.key.id)
    assert kept == issued.key
    assert (kept.tenant, kept.roles, kept.models) == (
        "research",
        {"submit", "read"},
        {"chat"},
    )
    assert (kept.created_by, kept.created_at, kept.flows) == ("entra:1", NOON, None)


async def test_what_is_noted_of_it_holds_neither_the_key_nor_what_the_issuer_wrote(it):
    issued = await it.issue(note="for Ada Lovelace", expires_at=NOON + DAY)
    [event] = it.events()
    assert (event.action, event.target, event.subject) == (
        "key.issued",
        issued.key.id,
        "entra:1",
    )
    assert event.detail == {
        "tenant": "research",
        "roles": ["read", "submit"],
        "models": None,
        "flows": None,
        "expires_at": "2030-03-03T12:00:00+00:00",
    }
    written = json.dumps([content.decode() for content in it.log.blobs.values()])
    assert issued.text not in written
    assert issued.key.digest not in written
    assert "Lovelace" not in written


async def test_what_cannot_be_noted_is_not_issued(it):
    it.log.down = True
    with pytest.raises(DependencyUnavailable):
        await it.issue()
    assert it.blobs.blobs == {}


async def test_a_key_that_would_have_expired_already_is_not_issued(it):
    with pytest.raises(InvalidRequest) as raised:
        await it.issue(expires_at=NOON)
    assert raised.value.problems[0].field == "expires_at"
    assert it.events() == []


@given(st.frozensets(st.sampled_from(Role)), st.frozensets(st.sampled_from(Role), min_size=1))
def test_nobody_gives_away_a_role_that_they_have_not(had, asked):
    async def run() -> None:
        it = World()
        who = Identity("ops", "entra:1", had)
        if asked <= had:
            assert (await it.issue(who, roles=sorted(asked))).key.roles == asked
            return
        with pytest.raises(Forbidden) as raised:
            await it.issue(who, roles=sorted(asked))
        assert all(role in raised.value.detail for role in asked - had)
        assert it.blobs.blobs == it.log.blobs == {}

    asyncio.run(run())


@pytest.mark.parametrize("field", ["models", "flows"])
@pytest.mark.parametrize(
    ("asked", "allowed"), [(["a"], True), (["a", "b"], True), (None, False), (["a", "c"], False)]
)
async def test_a_key_for_some_models_or_flows_issues_none_for_others(it, field, asked, allowed):
    mine = await it.issue(roles=list(Role), **{field: ["a", "b"]})
    if allowed:
        issued = await it.issue(caller(mine), **{field: asked})
        assert getattr(issued.key, field) == set(asked)
        return
    with pytest.raises(Forbidden, match=field):
        await it.issue(caller(mine), **{field: asked})


async def test_what_an_operators_tenant_may_call_is_no_limit_for_other_tenants_keys(it):
    mine = await it.issue(roles=list(Role))
    assert (await it.issue(caller(mine))).key.models is None


@pytest.mark.parametrize(
    "asked",
    [
        {"roles": []},
        {"roles": ["own"]},
        {"models": []},
        {"models": [""]},
        {"expires_at": "2031-01-01T00:00:00"},
        {"note": "n" * 257},
        {"tenant": ""},
        {"key": "sk-mine"},
    ],
)
def test_what_is_no_request_for_a_key(asked):
    with pytest.raises(ValueError, match="validation error"):
        KeyRequest.model_validate({"tenant": "t", "roles": ["read"]} | asked)


# Rotated.


async def test_a_successor_has_the_same_rights_and_the_old_key_goes_on_for_a_while(it):
    old = await it.issue(models=["chat"], flows=["f"], note="n", expires_at=NOON + DAY)
    it.now += timedelta(minutes=1)
    new = await it.issuing.rotate(OPERATOR, old.key.id, HOUR)
    rights = ("tenant", "roles", "models", "flows", "note", "expires_at")
    assert [getattr(new.key, each) for each in rights] == [
        getattr(old.key, each) for each in rights
    ]
    assert new.key.id != old.key.id
    assert read_key(new.text).digest == new.key.digest != old.key.digest
    retired = await it.store.get(old.key.id)
    assert new.replaces == retired
    assert retired.replaced_by == new.key.id
    assert retired.revoked_at == it.now + timedelta(hours=1)
    assert it.status(retired) is KeyStatus.RETIRING
    it.now += timedelta(hours=1)
    assert it.status(retired) is KeyStatus.REVOKED
    assert it.status(new.key) is KeyStatus.ACTIVE
    event = it.events()[0]
    assert (event.action, event.target) == ("key.rotated", old.key.id)
    assert event.detail["replaced_by"] == new.key.id


async def test_a_successor_may_live_longer(it):
    old = await it.issue(expires_at=NOON + DAY)
    asked = RotationRequest(expires_at=NOON + 90 * DAY)
    assert (await it.issuing.rotate(OPERATOR, old.key.id, asked)).key.expires_at == NOON + 90 * DAY


async def test_rotating_takes_the_rights_of_the_key(it):
    """Else whoever may operate would come to the secret of a key that may do more."""
    old = await it.issue(roles=["bill"])
    who = Identity("ops", "entra:2", frozenset({Role.OPERATE}))
    with pytest.raises(Forbidden, match="bill"):
        await it.issuing.rotate(who, old.key.id, HOUR)
    assert await it.store.get(old.key.id) == old.key


async def test_a_key_has_one_successor(it):
    old = await it.issue()
    new = await it.issuing.rotate(OPERATOR, old.key.id, HOUR)
    with pytest.raises(Conflict, match=new.key.id):
        await it.issuing.rotate(OPERATOR, old.key.id, HOUR)


async def test_of_two_who_rotate_at_the_same_time_one_gets_a_key(it):
    old = await it.issue()
    both = await asyncio.gather(
        *(it.issuing.rotate(OPERATOR, old.key.id, HOUR) for _ in range(2)), return_exceptions=True
    )
    [new] = [each for each in both if isinstance(each, Issued)]
    assert [type(each) for each in both if each is not new] == [Conflict]
    keys, _ = await it.store.page(tenant=None, after=None, most=10)
    assert {key.id: it.status(key) for key in keys if key.id not in (old.key.id, new.key.id)} == {
        key.id: KeyStatus.REVOKED for key in keys if key.id not in (old.key.id, new.key.id)
    }
    assert len(keys) == 3
    assert (await it.store.get(old.key.id)).replaced_by == new.key.id


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_key_that_has_ended_is_not_rotated(it, how):
    old = await it.issue(expires_at=NOON + DAY)
    if how == "revoked":
        await it.issuing.revoke(OPERATOR, old.key.id)
    else:
        it.now += DAY
    with pytest.raises(Conflict, match=how):
        await it.issuing.rotate(OPERATOR, old.key.id, HOUR)


# Revoked.


async def test_a_revoked_key_is_kept_and_again_is_no_error(it):
    issued = await it.issue()
    it.now += DAY
    revoked = await it.issuing.revoke(OPERATOR, issued.key.id)
    assert revoked == issued.key.model_copy(update={"revoked_at": NOON + DAY})
    it.now += DAY
    assert await it.issuing.revoke(OPERATOR, issued.key.id) == revoked
    assert [event.action for event in it.events()] == ["key.revoked", "key.issued"]


async def test_a_retiring_key_may_be_revoked_at_once(it):
    old = await it.issue()
    await it.issuing.rotate(OPERATOR, old.key.id, HOUR)
    assert (await it.issuing.revoke(OPERATOR, old.key.id)).revoked_at == NOON


async def test_whatever_comes_together_a_revoked_key_stays_revoked(it):
    old = await it.issue()
    await asyncio.gather(
        it.issuing.rotate(OPERATOR, old.key.id, HOUR),
        it.issuing.revoke(OPERATOR, old.key.id),
        return_exceptions=True,
    )
    assert it.status(await it.store.get(old.key.id)) is KeyStatus.REVOKED


async def test_what_cannot_be_noted_is_not_revoked(it):
    issued = await it.issue()
    it.log.down = True
    with pytest.raises(DependencyUnavailable):
        await it.issuing.revoke(OPERATOR, issued.key.id)
    assert await it.store.get(issued.key.id) == issued.key


@pytest.mark.parametrize("key_id", ["0" * 16, "../keys/x", ""])
async def test_a_key_that_nobody_issued(it, key_id):
    for deed in (
        it.issuing.find(key_id),
        it.issuing.rotate(OPERATOR, key_id, HOUR),
        it.issuing.revoke(OPERATOR, key_id),
    ):
        with pytest.raises(NotFound):
            await deed
    assert it.log.blobs == {}


# Listed.


async def test_pages_are_of_one_tenant_or_of_all(it):
    for number in range(7):
        await it.issue(tenant="research" if number % 2 else "sales")
    whole, more = await it.store.page(tenant=None, after=None, most=100)
    assert not more
    assert [key.id for key in whole] == sorted(key.id for key in whole)
    theirs = [key.id for key in whole if key.tenant == "research"]
    seen, after, more = [], None, True
    while more:
        page, more = await it.store.page(tenant="research", after=after, most=2)
        seen += [key.id for key in page]
        after = seen[-1]
    assert seen == theirs
    assert len(theirs) == 3
