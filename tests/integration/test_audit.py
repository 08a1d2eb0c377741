"""The audit log over the local stack: who did what, told to operators alone, never changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceExistsError
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from devhost.stack.plan import Options
from devhost.stack.running import stack as running_stack
from tests.integration.batches_lab import (
    PARTS,
    Batches,
    batches_of,
    chat_lines,
    model_of_batches,
)
from tests.integration.keys_lab import Caller, KeysLab, keys_lab

SECRET_WORDS = "the quick brown canary"

type Object = dict[str, Any]


@pytest.fixture(scope="module")
async def it(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[KeysLab]:
    async with keys_lab(tmp_path_factory.mktemp("audit")) as lab:
        yield lab


@pytest.fixture(scope="module")
async def caller(it: KeysLab) -> Caller:
    """Of the tenant `research`; `key` is its id."""
    key = await it.issued("research", "submit", "read", note=SECRET_WORDS)
    return await it.caller(key["key"])


def subject(caller: Caller) -> str:
    return "key:" + caller.session.headers["Authorization"].split("-")[2]


async def audited(it: KeysLab, query: str = "") -> list[Object]:
    page = await it.operator.call("GET", f"/v1/audit?limit=1000{query}")
    return list(page["data"])


async def audited_of(it: KeysLab, target: str) -> list[Object]:
    return [event for event in await audited(it) if event["target"] == target]


async def container_of(service: BlobServiceClient) -> dict[str, tuple[bytes, str]]:
    """Content and etag of every event, by the blob's name."""
    container: ContainerClient = service.get_container_client("sluice-audit")
    found = {}
    async for blob in container.list_blobs():
        content = await (await container.download_blob(blob.name)).readall()
        found[blob.name] = (content, str(blob.etag))
    return found


async def test_what_a_caller_ends_or_removes_is_told_with_who_it_was(it: KeysLab, caller: Caller):
    batches = Batches(caller.session)
    body = {"flow": "summarize", "input": {"text": SECRET_WORDS}}
    job = await caller.call("POST", "/v1/jobs", 202, json=body)
    status = await caller.status("DELETE", f"/v1/jobs/{job['id']}")
    file = await batches.upload(chat_lines(1, messages=[{"role": "user", "content": 7}]))
    batch = await batches.create(file["id"])
    await batches.cancel(batch["id"])
    await batches.ended(batch["id"])
    await caller.call("DELETE", f"/v1/files/{file['id']}")

    assert status in (200, 202, 409)
    for target, action in (
        *([(job["id"], "job.cancelled")] if status != 409 else []),
        (batch["id"], "batch.cancelled"),
        (file["id"], "file.deleted"),
    ):
        [event] = await audited_of(it, target)
        assert (event["action"], event["outcome"]) == (action, "accepted")
        assert (event["tenant"], event["subject"]) == ("research", subject(caller))


async def test_what_operators_do_is_told(it: KeysLab):
    key = await it.issued("research", "read")
    new = await it.operator.call("POST", f"/v1/keys/{key['id']}/rotate", 201, json={})
    await it.operator.call("DELETE", f"/v1/keys/{key['id']}")
    weight = {"weight": 0.5}
    await it.operator.call("PATCH", "/v1/deployments/chat-1", None, json=weight)
    events = await audited_of(it, key["id"])
    assert [event["action"] for event in events] == ["key.revoked", "key.rotated", "key.issued"]
    assert events[1]["detail"]["replaced_by"] == new["id"]
    [steered] = await audited_of(it, "chat-1")
    assert (steered["action"], steered["detail"]) == ("deployment.steered", weight)
    assert {each["subject"] for each in (*events, steered)} == {subject(it.operator)}


async def test_it_is_asked_for_by_tenant_action_and_time_and_comes_in_pages(
    it: KeysLab, caller: Caller
):
    batches = Batches(caller.session)
    files = [(await batches.upload(b"{}"))["id"] for _ in range(5)]
    for file in files:
        await caller.call("DELETE", f"/v1/files/{file}")
    query = "/v1/audit?tenant=research&action=file.deleted&limit=2"
    seen, after = [], ""
    while True:
        page = await it.operator.call("GET", f"{query}{after}")
        seen += page["data"]
        if not page["has_more"]:
            break
        after = f"&after={page['next_after']}"
    assert [event["target"] for event in seen][:5] == files[::-1]
    assert {(event["tenant"], event["action"]) for event in seen} == {("research", "file.deleted")}
    assert await audited(it, "&tenant=nobody") == []
    until = seen[2]["at"].replace("+00:00", "Z")
    before = await audited(it, f"&action=file.deleted&to={until}")
    assert [event["target"] for event in before][:2] == files[1::-1]


async def test_operators_alone_may_read_it(it: KeysLab, caller: Caller):
    assert await caller.status("GET", "/v1/audit") == 403
    assert await (await it.caller(None)).status("GET", "/v1/audit") == 401


async def test_events_hold_nothing_that_anybody_wrote_and_never_change(it: KeysLab, caller: Caller):
    async with BlobServiceClient.from_connection_string(it.stack.blob) as service:
        before = await container_of(service)
        assert before
        for name, (content, _) in before.items():
            event = json.loads(content)
            assert name == f"audit/{event['at'][:10]}/{event['id']}"
            assert SECRET_WORDS.encode() not in content
        await it.issued("research", "read")
        after = await container_of(service)
        assert len(after) == len(before) + 1
        assert before.items() <= after.items()
        name = next(iter(before))
        blob = service.get_blob_client("sluice-audit", name)
        with pytest.raises(ResourceExistsError):
            await blob.upload_blob(b"{}", overwrite=False)


async def test_what_cannot_be_noted_is_refused_and_not_done(tmp_path: Path):
    """The container has a name that no storage account takes. Without tenants, besides."""
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("SLUICE_AUDIT_CONTAINER", "No Container")
        async with (
            model_of_batches(tmp_path),
            running_stack(Options(parts=PARTS)) as stack,
            batches_of(stack) as batches,
        ):
            file = await batches.upload(chat_lines(1))
            await batches.call("DELETE", f"/v1/files/{file['id']}", 503)
            assert await batches.call("GET", f"/v1/files/{file['id']}") == file
            await batches.call("PATCH", "/v1/deployments/chat-1", 503, json={"weight": 0})
            steered = await batches.call("GET", "/v1/deployments/chat-1")
            assert steered["override"]["weight"] is None
            await batches.call("GET", "/v1/audit", 503)
            key = {"tenant": "default", "roles": ["read"]}
            refused = await batches.call("POST", "/v1/keys", 409, json=key)
            assert "tenants.yaml" in refused["detail"]
