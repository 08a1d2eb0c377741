"""Who asks, over real sockets: keys and tokens as they change, scopes, messages, blobs."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
from azure.servicebus.aio import ServiceBusClient

from contracts.identity import Role
from contracts.keys import new_key
from contracts.names import DEFAULT_BATCH_INPUTS, REJECTED_QUEUE
from devhost.issuer.server import serving
from devhost.issuer.signing_key import SigningKey
from tests.integration.batches_lab import Batches
from tests.integration.queues_client import Producer, producer
from tests.integration.tenants_lab import (
    AUDIENCE,
    PRODUCER,
    RESEARCH,
    SALES,
    TenantsLab,
    bearer,
    tenants_lab,
)
from tests.unit.lines_fakes import CHAT, chat_file, chat_line, job_line, jsonl

CHAT_BODY = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}
EMBED_BODY = {"model": "embed", "input": "Hi"}
JOB = {"flow": "embed", "input": {"text": "Hi"}}


async def until[T](look: Callable[[], Awaitable[T | None]], within: float = 120.0) -> T:
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        if (found := await look()) is not None:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not found within {within} s")


async def status(tenants: TenantsLab, who: str, path: str = "/v1/models") -> int:
    async with tenants.http.get(path, headers=bearer(who)) as answer:
        return answer.status


# Tokens and keys.


async def test_openais_client_sends_a_key_as_it_always_does(tenants):
    key = await tenants.key(SALES)
    async with openai.AsyncOpenAI(base_url=f"{tenants.stack.http}/v1", api_key=key.text) as client:
        answer = await client.chat.completions.create(**CHAT_BODY)
        assert answer.choices[0].message.content
    wrong = openai.AsyncOpenAI(
        base_url=f"{tenants.stack.http}/v1", api_key=new_key().text, max_retries=0
    )
    async with wrong as client:
        with pytest.raises(openai.AuthenticationError, match="not known"):
            await client.models.list()


async def test_azures_client_sends_a_key_in_a_header_of_its_own(tenants):
    key = await tenants.key(SALES)
    async with tenants.http.get("/v1/models", headers={"api-key": key.text}) as answer:
        assert answer.status == 200


async def test_a_key_that_was_issued_a_moment_ago_opens(tenants):
    for _ in range(3):
        assert await status(tenants, new_key().text) == 401
        assert await status(tenants, (await tenants.key()).text) == 200


@pytest.mark.long
async def test_a_key_that_is_revoked_opens_nothing_half_a_minute_later(tenants):
    key = await tenants.key()
    assert await status(tenants, key.text) == 200
    stored = await tenants.keys.get(key.id)
    assert stored is not None
    await tenants.keys.change(
        key.id, lambda known: known.model_copy(update={"revoked_at": datetime.now(UTC)})
    )

    async def refused() -> bool | None:
        return True if await status(tenants, key.text) == 401 else None

    began = time.monotonic()
    await until(refused)
    print(f"refused after {time.monotonic() - began:.1f} s")


async def test_issuers_roll_their_keys_over(tmp_path):
    """In a stack of its own, whose issuer is changed."""
    async with tenants_lab(tmp_path, frozenset({"azurite", "hub", "host"})) as lab:
        issuer, server = lab.issuer.issuer, lab.issuer
        former = lab.token()
        assert await status(lab, former) == 200
        # Whoever invents key ids does not have the keys read each time.
        read = server.keys_read
        began = time.monotonic()
        for number in range(100):
            told = {"groups": [RESEARCH], "sub": str(number)}
            assert await status(lab, issuer.token(told, key=SigningKey.make("ES256"))) == 401
        assert server.keys_read - read <= 1 + (time.monotonic() - began) / 15
        # A new key counts, at the latest when the pause is over.
        issuer.roll_over()
        rolled = lab.token()

        async def known() -> bool | None:
            return True if await status(lab, rolled) == 200 else None

        await until(known)
        assert await status(lab, former) == 200
        # While the issuer is away, what is known of it counts.
        server.down = True
        assert await status(lab, lab.token(sub="another")) == 200
        # What nobody can know now is not refused for good.
        issuer.roll_over()

        async def told_to_come_again() -> bool | None:
            return True if await status(lab, lab.token()) == 503 else None

        await until(told_to_come_again)
        server.down = False
        await until(lambda: _is(lab, lab.token(), 200))


async def _is(tenants: TenantsLab, who: str, expected: int) -> bool | None:
    return True if await status(tenants, who) == expected else None


# What the platform says.


@asynccontextmanager
async def platform_lab(folder: Path, enabled: str) -> AsyncIterator[TenantsLab]:
    with pytest.MonkeyPatch.context() as settings:
        settings.setenv("WEBSITE_AUTH_ENABLED", enabled)
        async with tenants_lab(folder, frozenset({"azurite", "hub", "host"})) as lab:
            yield lab


async def test_the_platforms_word_is_believed_while_it_says_that_it_gives_it(tmp_path):
    claims = [
        {"typ": "iss", "val": "https://sts.example"},
        {"typ": "groups", "val": "g"},
        {"typ": "http://schemas.microsoft.com/identity/claims/objectidentifier", "val": "o1"},
        {"typ": "r", "val": "sluice.read"},
    ]

    def principal(issuer: str, group: str) -> dict[str, str]:
        told = [{"typ": "iss", "val": issuer}, {"typ": "groups", "val": group}, *claims[2:]]
        text = {"auth_typ": "aad", "claims": told, "name_typ": "n", "role_typ": "r"}
        return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(text).encode()).decode()}

    async with platform_lab(tmp_path, "True") as lab:
        name = lab.issuer.issuer.name
        for headers, expected in (
            (principal(name, RESEARCH), 200),
            (principal(name, "nobody"), 403),
            (principal("https://other.example", RESEARCH), 403),
            ({"X-MS-CLIENT-PRINCIPAL": "e30="}, 401),
            ({}, 401),
        ):
            async with lab.http.get("/v1/models", headers=headers) as answer:
                assert answer.status == expected, await answer.text()
        async with lab.http.post(
            "/v1/chat/completions", headers=principal(name, RESEARCH), json=CHAT_BODY
        ) as answer:
            assert answer.status == 403  # the role is not among those that it tells


# Scopes.


async def test_a_key_for_some_models_is_for_no_others(tenants):
    key = (await tenants.key(models=frozenset({"chat"}))).text
    call = tenants.call
    await call("POST", "/v1/chat/completions", key, json=CHAT_BODY)
    await call("POST", "/v1/chat/completions", key, json=CHAT_BODY | {"model": "chat@chat-1"})
    refused = await call("POST", "/v1/embeddings", key, 403, json=EMBED_BODY)
    assert refused["error"]["code"] == "forbidden"
    listed = await call("GET", "/v1/models", key)
    assert {each["id"] for each in listed["data"]} >= {"chat", "summarize"}
    assert not {each["id"] for each in listed["data"]} & {"embed", "classifier", "classify"}
    await call("GET", "/v1/models/embed", key, 404)
    flows = await call("GET", "/v1/flows", key)
    assert {each["name"] for each in flows["data"]} == {
        each["name"]
        for each in (await call("GET", "/v1/flows", tenants.token()))["data"]
        if set(each["models"]) <= {"chat"}
    }
    await call("POST", "/v1/jobs", key, 403, json=JOB)
    plain = {"flow": "embeddings.create", "input": {"input": "Hi"}, "model": "embed"}
    await call("POST", "/v1/jobs", key, 403, json=plain)
    chat = {"flow": "chat.completions", "input": {"messages": []}, "model": "chat"}
    await call("POST", "/v1/jobs", key, 202, json=chat)
    background = EMBED_BODY | {"background": True}
    await call("POST", "/v1/embeddings", key, 403, json=background)


async def test_a_key_for_some_flows_is_for_no_others(tenants):
    key = (await tenants.key(models=frozenset({"chat"}), flows=frozenset({"embed"}))).text
    call = tenants.call
    await call("POST", "/v1/jobs", key, 202, json=JOB)  # with the model that it calls itself
    summarize = {"flow": "summarize", "input": {"text": "Hi"}}
    await call("POST", "/v1/jobs", key, 403, json=summarize)
    chat = CHAT_BODY | {"model": "summarize"}
    await call("POST", "/v1/chat/completions", key, 403, json=chat)
    flows = await call("GET", "/v1/flows", key)
    assert [each["name"] for each in flows["data"]] == ["embed"]


@pytest.mark.parametrize(
    ("lines", "endpoint", "code"),
    [
        (jsonl(chat_line("a", body=CHAT_BODY)), CHAT, "model_not_found"),
        (jsonl(job_line("a", flow="summarize")), "/v1/jobs", "invalid_request"),
    ],
)
async def test_the_lines_of_a_batch_are_for_what_its_key_is_for(tenants, lines, endpoint, code):
    key = await tenants.key(models=frozenset({"embed"}), flows=frozenset({"embed"}))
    async with aiohttp.ClientSession(tenants.stack.http, headers=bearer(key.text)) as api:
        batches = Batches(api)
        ended = await batches.run(lines, endpoint)
    assert ended["status"] == "failed"
    [problem] = ended["errors"]["data"]
    assert problem["code"] == code
    assert "summarize" not in problem["message"]


# Messages.


@pytest.fixture(scope="module")
async def queue(tenants: TenantsLab) -> AsyncIterator[Producer]:
    async with producer(tenants.stack.service_bus) as made:
        yield made


def proof(token: str) -> dict[str, Any]:
    return {"application_properties": {"authorization": f"Bearer {token}"}}


async def rejected(tenants: TenantsLab, message_id: str) -> Any:
    """The message in the queue of those that were rejected."""
    async with (
        ServiceBusClient.from_connection_string(tenants.stack.service_bus) as client,
        client.get_queue_receiver(REJECTED_QUEUE, max_wait_time=30) as receiver,
    ):
        async for message in receiver:
            await receiver.complete_message(message)
            if message.message_id == message_id:
                return message
    raise AssertionError("it is not there")


async def test_a_message_with_a_token_is_a_job_of_its_tenant(tenants, queue):
    message_id = await queue.send(JOB, **proof(tenants.token(SALES, {Role.SUBMIT})))
    reply = await queue.reply(message_id)
    assert reply["status"] == "succeeded"
    await tenants.call("GET", f"/v1/jobs/{reply['id']}", tenants.token(SALES))
    await tenants.call("GET", f"/v1/jobs/{reply['id']}", tenants.token(RESEARCH), 404)


async def test_a_message_without_an_identity_is_rejected_with_the_reason(tenants, queue):
    message_id = await queue.send(JOB)
    reply = await queue.reply(message_id)
    assert (reply["status"], reply["error"]["code"]) == ("rejected", "unauthenticated")
    kept = await rejected(tenants, message_id)
    assert json.loads(b"".join(kept.body)) == JOB
    assert kept.application_properties[b"code"] == b"unauthenticated"
    assert b"authorization" in kept.application_properties[b"reason"]


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": 1}, "unauthenticated"),
        ({"aud": "other"}, "unauthenticated"),
        ({"iss": "https://other.example"}, "unauthenticated"),
        ({"groups": ["nobody"]}, "forbidden"),
        ({"roles": ["sluice.read"]}, "forbidden"),
    ],
)
async def test_a_message_with_a_token_that_does_not_do_is_rejected(tenants, queue, claims, code):
    token = tenants.token(**claims)
    message_id = await queue.send(JOB, **proof(token))
    reply = await queue.reply(message_id)
    assert (reply["status"], reply["error"]["code"]) == ("rejected", code)
    kept = await rejected(tenants, message_id)
    assert b"authorization" not in kept.application_properties  # nobody else is to use it


def signed(tenants: TenantsLab, message_id: str, body: Any = JOB) -> str:
    """A token that a producer made for one message."""
    claims = {
        "iss": PRODUCER,
        "sub": "orders",
        "jti": message_id,
        "body_sha256": hashlib.sha256(json.dumps(body).encode()).hexdigest(),
        "roles": ["sluice.submit"],
    }
    return tenants.issuer.issuer.token(claims, key=tenants.producer_key)


async def test_a_producers_token_is_for_one_message(tenants, queue):
    message_id = uuid.uuid4().hex
    token = signed(tenants, message_id)
    await queue.send(JOB, message_id=message_id, **proof(token))
    assert (await queue.reply(message_id))["status"] == "succeeded"
    other = await queue.send(JOB, **proof(token))
    assert (await queue.reply(other))["error"]["code"] == "unauthenticated"
    changed = uuid.uuid4().hex
    body = JOB | {"metadata": {"a": "b"}}
    await queue.send(body, message_id=changed, **proof(signed(tenants, changed)))
    assert (await queue.reply(changed))["error"]["code"] == "unauthenticated"
    assert await status(tenants, token) == 401


# Blobs.


async def drop(tenants: TenantsLab, name: str, content: bytes) -> None:
    container = tenants.blobs.get_container_client(DEFAULT_BATCH_INPUTS)
    if not await container.exists():
        await container.create_container()
    await container.upload_blob(name, content, overwrite=True)


async def test_a_blob_is_a_batch_of_the_tenant_whose_folder_it_is_in(tenants, queue):
    name = f"{SALES}/{uuid.uuid4().hex}.jsonl"
    await drop(tenants, name, chat_file(2))
    reply = await queue.reply(name)
    assert reply["status"] == "completed"
    await tenants.call("GET", f"/v1/batches/{reply['id']}", tenants.token(SALES))
    await tenants.call("GET", f"/v1/batches/{reply['id']}", tenants.token(RESEARCH), 404)


@pytest.mark.parametrize("folder", ["nobody/", "", "Sales/", "sales2/"])
async def test_a_blob_in_no_tenants_folder_is_rejected(tenants, queue, folder):
    name = f"{folder}{uuid.uuid4().hex}.jsonl"
    await drop(tenants, name, chat_file(1))
    reply = await queue.reply(name)
    assert (reply["status"], reply["error"]["code"]) == ("rejected", "forbidden")


async def test_a_callers_blob_must_be_in_the_folder_of_its_tenant(tenants, queue):
    # Not by the blob door: it takes blobs that end in .jsonl alone.
    mine, theirs = f"{RESEARCH}/{uuid.uuid4().hex}", f"{SALES}/{uuid.uuid4().hex}"
    await drop(tenants, mine, chat_file(1))
    await drop(tenants, theirs, chat_file(1))
    container = tenants.blobs.get_container_client(DEFAULT_BATCH_INPUTS).url
    token = tenants.token(RESEARCH, {Role.SUBMIT})

    async def reply_for(name: str) -> Any:
        body = {"batch": {"input_blob": f"{container}/{name}"}}
        return await queue.reply(await queue.send(body, **proof(token)))

    assert (await reply_for(mine))["status"] == "completed"
    for name in (theirs, f"{SALES}/none", "none", f"{RESEARCH}/../{theirs}", f"{RESEARCH}x/a"):
        reply = await reply_for(name)
        assert reply["status"] == "rejected", name
        assert reply["error"]["code"] in ("not_found", "invalid_request")


async def test_the_local_issuer_signs_what_it_is_asked():
    async with serving(audience=AUDIENCE) as server, aiohttp.ClientSession() as session:
        url = server.keys_url.removesuffix("keys") + "token"
        async with session.post(url, data=json.dumps({"sub": "me"})) as answer:
            assert len((await answer.text()).split(".")) == 3
        async with session.post(url, data="[]") as answer:
            assert answer.status == 400
