"""API keys over the local stack: the first one, those that it issues, and what ends them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest
from azure.storage.blob.aio import BlobServiceClient

from contracts.errors import Conflict
from contracts.keys import read_key
from stores.blobs import Container, StorageAccount
from tests.integration.keys_lab import Caller, KeysLab, keys_lab

CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
IN_FORCE_SECONDS = 120
"""For every worker to have looked at a key again; it takes 30, on a machine that is not busy."""
COUNTED_SECONDS = 180


@pytest.fixture(scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KeysLab]:
    async with keys_lab(tmp_path_factory.mktemp("keys")) as lab:
        yield lab


async def until_refused(caller: Caller, path: str = "/v1/models") -> None:
    limit = time.monotonic() + IN_FORCE_SECONDS
    while await caller.status("GET", path) != 401:
        assert time.monotonic() < limit, "the key still opens"
        await asyncio.sleep(0.2)


async def test_the_first_key_opens_and_the_platforms_does_not(it: KeysLab):
    assert await it.operator.status("GET", "/v1/keys") == 200
    stranger = await it.caller(None)
    headers = {"x-functions-key": it.stack.api_key}
    assert await stranger.status("GET", "/v1/keys", headers=headers) == 401
    key = read_key(it.operator_key)
    assert key is not None
    event = (await it.operator.call("GET", "/v1/audit?action=key.issued"))["data"][-1]
    assert (event["subject"], event["target"]) == ("storage-account", key.id)


async def test_a_key_opens_what_its_roles_open_and_nothing_else(it: KeysLab):
    key = await it.issued("research", "submit", models=["chat"], note="the nightly run")
    caller = await it.caller(key["key"])
    await caller.call("POST", "/v1/chat/completions", json=CHAT)
    embed = {"model": "embed", "input": "Hi"}
    assert await caller.status("POST", "/v1/embeddings", json=embed) == 403
    assert await caller.status("GET", "/v1/jobs") == 403
    assert await caller.status("POST", "/v1/keys", json={}) == 403
    shown = await it.operator.call("GET", f"/v1/keys/{key['id']}")
    assert (shown["created_by"], shown["note"]) == (
        f"key:{it.operator_key.split('-')[2]}",
        "the nightly run",
    )
    assert shown.keys() == key.keys() - {"key", "replaces"}


async def test_what_is_kept_of_a_key_does_not_open_anything(it: KeysLab):
    key = await it.issued("research", "read")
    async with BlobServiceClient.from_connection_string(it.stack.blob) as service:
        for container in ("sluice-keys", "sluice-audit"):
            client = service.get_container_client(container)
            async for blob in client.list_blobs(include=["metadata"]):
                content = await (await client.download_blob(blob.name)).readall()
                kept = f"{blob.name} {blob.metadata} {content.decode()}"
                assert key["key"][-43:] not in kept
    logs = it.stack.log("host").read_text()
    assert key["key"][-43:] not in logs


async def test_an_operator_cannot_issue_or_rotate_more_than_they_have(it: KeysLab):
    limited = await it.issued("ops", "operate", "read")
    operator = await it.caller(limited["key"])
    body = {"tenant": "research", "roles": ["read", "bill"]}
    problem = await operator.call("POST", "/v1/keys", 403, json=body)
    assert "bill" in problem["detail"]
    biller = await it.issued("research", "bill")
    problem = await operator.call("POST", f"/v1/keys/{biller['id']}/rotate", 403, json={})
    assert "bill" in problem["detail"]
    await operator.call("POST", "/v1/keys", 201, json=body | {"roles": ["read"]})


async def test_keys_end_when_they_expire_are_revoked_or_were_replaced(it: KeysLab):
    """All three at once: a worker may believe what it knows of a key for half a minute."""
    ends = time.time() + 3
    expires_at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(ends))}Z"
    expiring = await it.issued("research", "read", expires_at=expires_at)
    revoked = await it.issued("research", "read")
    replaced = await it.issued("research", "read", models=["chat"])
    callers = [await it.caller(each["key"]) for each in (revoked, replaced)]
    for caller in callers:
        await caller.call("GET", "/v1/models")
    gone = await it.operator.call("DELETE", f"/v1/keys/{revoked['id']}")
    assert gone["status"] == "revoked"
    path = f"/v1/keys/{replaced['id']}/rotate"
    new = await it.operator.call("POST", path, 201, json={"grace_seconds": 1})
    assert (new["models"], new["replaces"]["replaced_by"]) == (["chat"], new["id"])
    successor = await it.caller(new["key"])
    await successor.call("GET", "/v1/models")
    await asyncio.gather(
        *(until_refused(caller) for caller in [*callers, await it.caller(expiring["key"])])
    )
    await successor.call("GET", "/v1/models")
    assert await it.operator.status("DELETE", f"/v1/keys/{revoked['id']}") == 200
    assert await it.operator.status("POST", path, json={}) == 409
    listed = await it.operator.call("GET", "/v1/keys?tenant=research&limit=1000")
    statuses = {key["id"]: key["status"] for key in listed["data"]}
    assert [statuses[each["id"]] for each in (expiring, revoked, replaced, new)] == [
        "expired",
        "revoked",
        "revoked",
        "active",
    ]


async def test_refused_callers_are_counted_in_the_audit_log(it: KeysLab):
    """Once a minute, and not one by one."""
    stranger = await it.caller(None)
    for _ in range(20):
        assert await stranger.status("GET", "/v1/jobs") == 401
    limit = time.monotonic() + COUNTED_SECONDS
    counted: list[int] = []
    while sum(counted) < 20:
        assert time.monotonic() < limit, counted
        await asyncio.sleep(0.5)
        page = await it.operator.call("GET", "/v1/audit?action=callers.refused")
        assert {event["tenant"] for event in page["data"]} <= {None}
        counted = [event["detail"].get("unauthenticated", 0) for event in page["data"]]
    assert len(counted) < 10


async def test_dev_keys(it: KeysLab):
    key = it.operator_key
    create = ("create", "--tenant", "research", "--roles", "submit,read")
    status, secret, told = await it.dev_keys(*create, "--days", "90", "--note", "CI", key=key)
    assert (status, told.splitlines()[-1]) == (
        0,
        "It is shown this once. Send it as `Authorization: Bearer KEY`.",
    )
    presented = read_key(secret.strip())
    assert presented is not None
    assert await (await it.caller(secret.strip())).status("GET", "/v1/jobs") == 200

    status, listed, _ = await it.dev_keys("list", "--tenant", "research", key=key)
    assert status == 0
    [line] = [line for line in listed.splitlines() if line.startswith(presented.id)]
    assert "active  research  read,submit  until " in line
    assert line.endswith("CI")

    status, successor, told = await it.dev_keys(
        "rotate", presented.id, "--grace-hours", "1", key=key
    )
    assert status == 0
    assert read_key(successor.strip()) is not None
    assert f"Key {presented.id} goes on until " in told

    status, said, _ = await it.dev_keys("revoke", presented.id, "--key", key)
    assert (status, said.split()[1]) == (0, "revoked")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "--tenant", "sales", "--roles", "read"), "ops, research"),
        (("create", "--tenant", "research", "--roles", "own"), "--roles: Input should be"),
        (("revoke", "0000000000000000"), "There is no such key"),
    ],
)
async def test_dev_keys_says_what_is_wrong(it: KeysLab, arguments: tuple[str, ...], says: str):
    status, said, told = await it.dev_keys(*arguments, key=it.operator_key)
    assert (status, said) == (1, "")
    assert says in told


async def test_dev_keys_without_a_key_says_how_the_first_one_comes_to_be(it: KeysLab):
    status, _, told = await it.dev_keys("list", SLUICE_KEY="")
    assert (status, "./dev keys create --storage" in told) == (1, True)


async def test_what_has_changed_since_is_not_written_over(it: KeysLab):
    async with StorageAccount(connection_string=it.stack.blob).open() as service:
        container = Container(lambda: service, f"test-{uuid.uuid4().hex}")
        assert await container.put_new("a", b"1", metadata={"m": "x"})
        assert not await container.put_new("a", b"2")
        found = await container.look("a")
        assert found is not None
        assert found.metadata == {"m": "x"}
        assert await container.put_as("a", b"3", found.etag)
        assert not await container.put_as("a", b"4", found.etag)
        assert not await container.put_as("b", b"4", found.etag)
        assert await container.get("a") == b"3"
        with pytest.raises(Conflict):
            _ = [piece async for piece in container.read_as("a", found.etag)]
