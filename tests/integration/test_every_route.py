"""Every route by every caller who must not have it, over real sockets.

The table is held against the app's operations: a new route without a row fails here.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import aiohttp
import jwt
import pytest

from contracts.identity import Role
from contracts.keys import new_key
from devhost.issuer.signing_key import SigningKey
from tests.integration.batches_lab import Batches
from tests.integration.jobs_client import ended
from tests.integration.tenants_lab import RESEARCH, SALES, TenantsLab, bearer
from tests.unit.indexed import indexed
from tests.unit.lines_fakes import CHAT, chat_file
from triggers.operation import OPERATIONS, Operation

assert indexed()  # the doors are imported, and so described

OWN = frozenset({Role.SUBMIT, Role.READ})
"""The roles of one who uses the service and does not run it."""
MESSAGES = [{"role": "user", "content": "Hi"}]
SECRET = "researchs own words"


@dataclass
class Things:
    """What is research's; nobody of sales may learn of it."""

    job: str
    file: str
    batch: str
    api_key: str
    idempotency_key: str = "the same key"

    @property
    def names(self) -> list[str]:
        return [self.job, self.file, self.batch, SECRET]


@dataclass(frozen=True)
class Row:
    """How a route is asked, and what it answers."""

    fine: int
    """To research, with the role that it takes."""
    path: str = ""
    """In place of the operation's own: with names filled in, and a query."""
    body: dict[str, Any] | None = None
    form: bool = False
    stranger: int | None = None
    """To sales; None: the same, of its own things alone."""


ROWS = {
    "GET /v1/audit": Row(200),
    "GET /v1/comparisons": Row(200, "/v1/comparisons?model=chat"),
    "GET /v1/deployments": Row(200),
    "GET /v1/deployments/{name}": Row(200, "/v1/deployments/chat-1"),
    "PATCH /v1/deployments/{name}": Row(200, "/v1/deployments/embed-1", {"weight": 1}),
    "POST /v1/jobs": Row(202, body={"flow": "embed", "input": {"text": SECRET}}),
    "GET /v1/jobs": Row(200),
    "GET /v1/jobs/{job_id}": Row(200, "/v1/jobs/{job}", stranger=404),
    "GET /v1/jobs/{job_id}/result": Row(200, "/v1/jobs/{job}/result", stranger=404),
    "DELETE /v1/jobs/{job_id}": Row(409, "/v1/jobs/{job}", stranger=404),
    "POST /v1/keys": Row(201, body={"tenant": RESEARCH, "roles": ["read"]}),
    "GET /v1/keys": Row(200),
    "GET /v1/keys/{key_id}": Row(200, "/v1/keys/{api_key}"),
    "POST /v1/keys/{key_id}/rotate": Row(404, f"/v1/keys/{'0' * 16}/rotate", {}),
    "DELETE /v1/keys/{key_id}": Row(404, f"/v1/keys/{'0' * 16}"),
    "GET /v1/flows": Row(200),
    "POST /v1/rollouts": Row(409, body={"model": "chat", "to": "chat-1"}),
    "GET /v1/rollouts/{rollout_id}": Row(404, "/v1/rollouts/rollout-none"),
    "POST /v1/rollouts/{rollout_id}/cancel": Row(404, "/v1/rollouts/rollout-none/cancel"),
    "GET /v1/operations/stuck": Row(200),
    "GET /v1/queues": Row(200),
    "GET /v1/queues/{queue}/messages": Row(200, "/v1/queues/inference-rejected/messages?body=true"),
    "DELETE /v1/queues/{queue}/messages/{sequence}": Row(
        404, "/v1/queues/inference-rejected/messages/9000000000000000001"
    ),
    "POST /v1/queues/{queue}/messages/{sequence}/resubmit": Row(
        404, "/v1/queues/inference-rejected/messages/9000000000000000001/resubmit"
    ),
    "POST /v1/queues/{queue}/purge": Row(
        400, "/v1/queues/inference-rejected/purge", {"confirm": "all"}
    ),
    "GET /v1/usage": Row(200, "/v1/usage?group_by=tenant"),
    "POST /v1/batches": Row(
        200,
        body={"input_file_id": "{file}", "endpoint": CHAT, "completion_window": "24h"},
        stranger=400,
    ),
    "GET /v1/batches": Row(200),
    "GET /v1/batches/{batch_id}": Row(200, "/v1/batches/{batch}", stranger=404),
    "POST /v1/batches/{batch_id}/cancel": Row(409, "/v1/batches/{batch}/cancel", stranger=404),
    "POST /v1/batches/{batch_id}/retry": Row(409, "/v1/batches/{batch}/retry", stranger=404),
    "POST /v1/files": Row(200, form=True),
    "GET /v1/files": Row(200),
    "GET /v1/files/{file_id}": Row(200, "/v1/files/{file}", stranger=404),
    "DELETE /v1/files/{file_id}": Row(200, "/v1/files/{spare}", stranger=404),
    "GET /v1/files/{file_id}/content": Row(200, "/v1/files/{file}/content", stranger=404),
    "GET /v1/models": Row(200),
    "GET /v1/models/{model}": Row(200, "/v1/models/chat"),
    "POST /v1/chat/completions": Row(200, body={"model": "chat", "messages": MESSAGES}),
    "POST /v1/embeddings": Row(200, body={"model": "embed", "input": "Hi"}),
    "POST /v1/responses": Row(200, body={"model": "chat", "input": "Hi"}),
}
OPEN_TO_ALL = {"GET /healthz", "GET /openapi.json"}

GUARDED = {f"{each.method} {each.path}": each for each in OPERATIONS if each.role is not None}


def test_every_route_is_in_the_table_and_few_are_open_to_all():
    every = {f"{each.method} {each.path}" for each in OPERATIONS}
    assert ROWS.keys() == GUARDED.keys()
    assert every - GUARDED.keys() == OPEN_TO_ALL


@pytest.fixture(scope="module")
async def things(tenants: TenantsLab) -> Things:
    """A job and a batch of research's that have ended."""
    key = await tenants.key(RESEARCH)
    session = aiohttp.ClientSession(tenants.stack.http, headers=bearer(key.text))
    async with session as api:
        body = {"flow": "embed", "input": {"text": SECRET}}
        headers = {"Idempotency-Key": "the same key"}
        async with api.post("/v1/jobs", json=body, headers=headers) as answer:
            job = (await answer.json())["id"]
        batches = Batches(api)
        file = (await batches.upload(chat_file(2)))["id"]
        batch = (await batches.create(file))["id"]
        assert (await ended(api, job))["status"] == "succeeded"
        assert (await batches.ended(batch))["status"] == "completed"
    return Things(job, file, batch, key.id)


@dataclass
class Answer:
    status: int
    headers: Any
    text: str
    asked: str
    """The path, which a problem repeats."""

    def tells_of(self, things: Things) -> bool:
        told = self.text.replace(self.asked, "")
        return any(name in told for name in things.names)


async def ask(tenants: TenantsLab, label: str, things: Things, headers: dict[str, str]) -> Answer:
    operation, row = GUARDED[label], ROWS[label]
    names = {**vars(things), "spare": things.file}
    if "{spare}" in row.path and "Authorization" in headers:
        names["spare"] = await spare_file(tenants)
    path = (row.path or operation.path).format(**names)
    options: dict[str, Any] = {}
    if row.form:
        options["data"] = aiohttp.FormData({"purpose": "batch"})
        options["data"].add_field("file", b"{}", filename="f.jsonl")
    elif row.body is not None:
        options["json"] = json.loads(json.dumps(row.body).replace("{file}", things.file))
    async with tenants.http.request(operation.method, path, headers=headers, **options) as answer:
        return Answer(answer.status, answer.headers, await answer.text(), path)


async def spare_file(tenants: TenantsLab) -> str:
    """A file of research's that may be deleted."""
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", b"{}", filename="f.jsonl")
    return (await tenants.call("POST", "/v1/files", tenants.token(), data=form))["id"]


# Who must not be let in, whatever they ask.


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def told(tenants: TenantsLab) -> dict[str, Any]:
    """The claims of a token that holds."""
    claims: dict[str, Any] = jwt.decode(tenants.token(), options={"verify_signature": False})
    return claims


async def nobody(tenants: TenantsLab) -> dict[str, str]:
    return {}


async def expired(tenants: TenantsLab) -> dict[str, str]:
    return bearer(tenants.token(exp=datetime.now(UTC).timestamp() - 61))


async def wrong_audience(tenants: TenantsLab) -> dict[str, str]:
    return bearer(tenants.token(aud="api://other"))


async def wrong_issuer(tenants: TenantsLab) -> dict[str, str]:
    return bearer(tenants.token(iss="https://other.example"))


async def unsigned(tenants: TenantsLab) -> dict[str, str]:
    head = {"alg": "none", "typ": "JWT", "kid": tenants.issuer.issuer.keys[-1].id}
    return bearer(f"{part(head)}.{part(told(tenants))}.")


async def signed_with_the_public_key(tenants: TenantsLab) -> dict[str, str]:
    key = tenants.issuer.issuer.keys[-1]
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': key.id})}.{part(told(tenants))}"
    digest = hmac.digest(key.pem, signed.encode(), sha256)
    return bearer(f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}")


async def unknown_key_id(tenants: TenantsLab) -> dict[str, str]:
    return bearer(tenants.issuer.issuer.token(told(tenants), key=SigningKey.make("ES256")))


async def stolen_key_id(tenants: TenantsLab) -> dict[str, str]:
    own = SigningKey(SigningKey.make().private, "RS256", tenants.issuer.issuer.keys[-1].id)
    return bearer(tenants.issuer.issuer.token(told(tenants), key=own))


def principal(tenants: TenantsLab) -> dict[str, str]:
    claims = {"iss": tenants.issuer.issuer.name, "groups": RESEARCH}
    roles = [{"typ": "roles", "val": f"sluice.{role}"} for role in Role]
    told = {
        "auth_typ": "aad",
        "claims": [{"typ": typ, "val": val} for typ, val in claims.items()] + roles,
        "name_typ": "name",
        "role_typ": "roles",
    }
    return {"X-MS-CLIENT-PRINCIPAL": base64.b64encode(json.dumps(told).encode()).decode()}


async def forged_header(tenants: TenantsLab) -> dict[str, str]:
    return principal(tenants)


async def forged_header_beside_a_token(tenants: TenantsLab) -> dict[str, str]:
    return principal(tenants) | bearer(tenants.token())


async def revoked_key(tenants: TenantsLab) -> dict[str, str]:
    return bearer((await tenants.key(revoked_at=datetime.now(UTC) - timedelta(seconds=1))).text)


async def expired_key(tenants: TenantsLab) -> dict[str, str]:
    return bearer((await tenants.key(expires_at=datetime.now(UTC) - timedelta(seconds=1))).text)


async def invented_key(tenants: TenantsLab) -> dict[str, str]:
    return {"api-key": new_key().text}


async def key_with_anothers_secret(tenants: TenantsLab) -> dict[str, str]:
    one, other = await tenants.key(), await tenants.key()
    return bearer(one.text[:27] + other.text[27:])


async def the_platforms_key(tenants: TenantsLab) -> dict[str, str]:
    """It opens the app's doors only where no tenants are known."""
    return {"x-functions-key": tenants.stack.api_key}


type Caller = Callable[[TenantsLab], Awaitable[dict[str, str]]]
STRANGERS: list[Caller] = [
    nobody,
    expired,
    wrong_audience,
    wrong_issuer,
    unsigned,
    signed_with_the_public_key,
    unknown_key_id,
    stolen_key_id,
    forged_header,
    forged_header_beside_a_token,
    revoked_key,
    expired_key,
    invented_key,
    key_with_anothers_secret,
    the_platforms_key,
]


@pytest.fixture(scope="module")
async def credentials(tenants: TenantsLab) -> AsyncIterator[dict[str, dict[str, str]]]:
    """Of each stranger, made once."""
    yield {caller.__name__: await caller(tenants) for caller in STRANGERS}


@pytest.mark.parametrize("label", ROWS)
@pytest.mark.parametrize("caller", STRANGERS, ids=lambda caller: caller.__name__)
async def test_who_is_nobody_is_refused(tenants, things, credentials, label, caller):
    answer = await ask(tenants, label, things, credentials[caller.__name__])
    assert answer.status == 401, answer.text
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert not answer.tells_of(things)


def roles_without(operation: Operation) -> list[Role]:
    return [role for role in Role if role is not operation.role]


@pytest.mark.parametrize("label", ROWS)
@pytest.mark.parametrize("kind", ["token", "key"])
async def test_who_lacks_the_role_is_refused(tenants, things, label, kind):
    roles = roles_without(GUARDED[label])
    who = tenants.token(roles=roles) if kind == "token" else (await tenants.key(roles=roles)).text
    answer = await ask(tenants, label, things, bearer(who))
    assert answer.status == 403, answer.text
    assert f"`{GUARDED[label].role}`" in answer.text


@pytest.mark.parametrize("label", ROWS)
@pytest.mark.parametrize("kind", ["token", "key"])
async def test_who_has_the_role_alone_is_let_in(tenants, things, label, kind):
    """So that the refusals above are for what they say."""
    role = GUARDED[label].role
    assert role is not None
    roles = {Role.OPERATE, Role.READ} if label == "POST /v1/keys" else {role}
    who = tenants.token(roles=roles) if kind == "token" else (await tenants.key(roles=roles)).text
    answer = await ask(tenants, label, things, bearer(who))
    assert answer.status == ROWS[label].fine, answer.text


@pytest.mark.parametrize(
    "label", [label for label, operation in GUARDED.items() if operation.role in OWN]
)
@pytest.mark.parametrize("kind", ["token", "key"])
async def test_another_tenant_learns_nothing(tenants, things, label, kind):
    who = tenants.token(SALES, OWN) if kind == "token" else (await tenants.key(SALES, OWN)).text
    answer = await ask(tenants, label, things, bearer(who))
    row = ROWS[label]
    assert answer.status == (row.stranger or row.fine), answer.text
    if label != "POST /v1/jobs":  # which gives back the caller's own words
        assert not answer.tells_of(things)


@pytest.mark.parametrize("label", sorted(OPEN_TO_ALL))
async def test_what_is_open_to_all_asks_nobody(tenants, label):
    method, path = label.split()
    async with tenants.http.request(method, path, headers=bearer("whatever")) as answer:
        assert answer.status == 200


async def test_an_idempotency_key_is_of_one_tenant(tenants, things):
    body = {"flow": "embed", "input": {"text": SECRET}}
    options = {"json": body, "headers": {"Idempotency-Key": things.idempotency_key}}
    theirs = await tenants.call("POST", "/v1/jobs", tenants.token(SALES), 202, **options)
    assert theirs["id"] != things.job
    other = options | {"json": body | {"input": {"text": "other words"}}}
    await tenants.call("POST", "/v1/jobs", tenants.token(SALES), 422, **other)


async def test_a_token_of_a_page_is_of_no_use_to_another_tenant(tenants, things):
    """`after` is where to go on in one's own list, whatever it names."""
    for path, names in (
        ("/v1/jobs", [things.job]),
        ("/v1/files", [things.file, "file-"]),
        ("/v1/batches", [things.batch, "batch_"]),
    ):
        page = await tenants.call("GET", f"{path}?limit=1", tenants.token())
        tokens = [*names, page.get("next_after") or page.get("last_id") or ""]
        for token in tokens:
            async with tenants.http.get(
                path, params={"after": token}, headers=bearer(tenants.token(SALES, OWN))
            ) as answer:
                assert answer.status in (200, 400)
                text = await answer.text()
                assert not any(name in text for name in things.names)
