"""The door to API keys: what it takes, what it shows, and that it shows a key once."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

import wiring
from contracts.identity import Identity, Role
from contracts.keys import read_key
from stores.audit import AuditLog
from stores.keys import KeyStore
from tests.unit.fakes import MemoryContainer
from tests.unit.http_fakes import asked
from triggers import keys as door

OPERATOR = Identity("ops", "entra:1", frozenset(Role))
REQUEST = {"tenant": "research", "roles": ["submit"]}


class Door:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.who = OPERATOR
        self.refused: list[str] = []
        self.parts = SimpleNamespace(
            keys=KeyStore(cast(Any, MemoryContainer())),
            audit=AuditLog(cast(Any, MemoryContainer())),
            identities=self,
            refusals=SimpleNamespace(count=self.refused.append),
            tenants=SimpleNamespace(names=["ops", "research"]),
            endpoints=SimpleNamespace(models={"chat": None}),
            flows=SimpleNamespace(infos=[SimpleNamespace(name="summarize")]),
            limits=SimpleNamespace(request_bytes=10_000),
        )
        monkeypatch.setattr(wiring, "parts", lambda: self.parts)

    async def identify(self, headers: object) -> Identity:
        return self.who

    async def call(
        self, function: Any, key_id: str = "", body: Any = None, **query: str
    ) -> tuple[int, Any]:
        self.headers, self.text = {}, ""
        request = asked(
            "POST",
            "/v1/keys",
            json.dumps(body).encode(),
            query=query,
            route_params={"key_id": key_id},
        )
        response = await function._function._func(request)
        self.headers, self.text = response.headers, response.body.decode()
        return response.status_code, json.loads(self.text)

    async def issued(self, **changes: Any) -> Any:
        status, key = await self.call(door.issue_key, body=REQUEST | changes)
        assert status == 201, key
        return key


@pytest.fixture
def it(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


async def test_a_key_is_shown_once_and_to_no_cache(it):
    key = await it.issued(models=["chat"], flows=["summarize"], note="n")
    presented = read_key(key["key"])
    assert presented is not None
    assert presented.id == key["id"]
    assert it.headers["location"] == f"/v1/keys/{key['id']}"
    assert it.headers["cache-control"] == "no-store"
    assert (key["status"], key["tenant"], key["roles"]) == ("active", "research", ["submit"])
    for function in (door.get_key, door.list_keys, door.revoke_key):
        status, shown = await it.call(function, key["id"])
        assert status == 200
        assert key["key"] not in it.text
        assert presented.digest not in it.text
        record = shown["data"][0] if "data" in shown else shown
        assert record["id"] == key["id"]
        assert (record["models"], record["flows"], record["note"]) == (
            ["chat"],
            ["summarize"],
            "n",
        )
    assert record["status"] == "revoked"


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"tenant": "sales"}, "tenant", "ops, research"),
        ({"models": ["chat", "gpt"]}, "models", "chat"),
        ({"flows": ["sum"]}, "flows", "summarize"),
        ({"roles": ["submit", "own"]}, "roles.1", "'submit', 'read'"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at", "to come"),
        ({"expires_at": "2101-01-01"}, "expires_at", ""),
    ],
)
async def test_what_is_wrong_is_named(it, changes, field, expected):
    status, problem = await it.call(door.issue_key, body=REQUEST | changes)
    assert status == 400
    [wrong] = problem["errors"]
    assert wrong["field"] == field
    assert expected in wrong["expected"]


async def test_a_role_that_the_caller_has_not_is_refused(it):
    it.who = Identity("ops", "entra:1", frozenset({Role.OPERATE}))
    status, problem = await it.call(door.issue_key, body=REQUEST)
    assert (status, problem["code"]) == (403, "forbidden")
    assert "submit" in problem["detail"]


@pytest.mark.parametrize("name", ["issue_key", "list_keys", "get_key", "rotate_key", "revoke_key"])
async def test_it_takes_the_role_operate(it, name):
    it.who = Identity("ops", "entra:1", frozenset(Role) - {Role.OPERATE})
    status, problem = await it.call(getattr(door, name), "0" * 16, body={})
    assert (status, "operate" in problem["detail"]) == (403, True)
    assert it.refused == ["forbidden"]


async def test_rotation_shows_both_keys_and_the_new_one_once(it):
    old = await it.issued()
    status, new = await it.call(door.rotate_key, old["id"], body={"grace_seconds": 60})
    assert status == 201
    assert read_key(new["key"]) is not None
    assert (new["replaces"]["id"], new["replaces"]["status"]) == (old["id"], "retiring")
    assert new["replaces"]["replaced_by"] == new["id"]
    assert it.headers["location"] == f"/v1/keys/{new['id']}"


async def test_without_tenants_no_key_is_issued_and_it_says_why(it):
    it.parts.identities = None
    for function in (door.issue_key, door.rotate_key):
        status, problem = await it.call(function, "0" * 16, body=REQUEST)
        assert (status, problem["code"]) == (409, "conflict")
        assert "tenants.yaml" in problem["detail"]
    assert (await it.call(door.list_keys))[1]["data"] == []


async def test_pages(it):
    ids = sorted([(await it.issued())["id"] for _ in range(3)])
    _, first = await it.call(door.list_keys, limit="2")
    assert ([key["id"] for key in first["data"]], first["has_more"]) == (ids[:2], True)
    _, last = await it.call(door.list_keys, limit="2", after=first["next_after"])
    assert ([key["id"] for key in last["data"]], last["has_more"]) == (ids[2:], False)
    _, none = await it.call(door.list_keys, tenant="ops")
    assert none["data"] == []


@pytest.mark.parametrize("query", [{"limit": "0"}, {"after": "x"}])
async def test_what_cannot_be_listed(it, query):
    status, problem = await it.call(door.list_keys, **query)
    assert (status, problem["errors"][0]["field"]) == (400, *query)


@pytest.mark.parametrize("key_id", ["0" * 16, "../keys/x", "nobody"])
async def test_a_key_that_nobody_issued(it, key_id):
    for function in (door.get_key, door.rotate_key, door.revoke_key):
        assert (await it.call(function, key_id, body={}))[0] == 404
