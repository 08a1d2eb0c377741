"""What the doors that are not HTTP do in an app that knows tenants, and what callers may name."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from azure.functions.servicebus import ServiceBusMessage

from batches.engine import Batches
from contracts.batches import BatchRequest, BatchTicket, FileObject
from contracts.calls import ModelAnswer, ModelCall
from contracts.errors import Forbidden, InvalidRequest, NotFound
from contracts.identity import Identity, Role
from contracts.jobs import JobRequest
from contracts.names import REJECTED_QUEUE, RESULTS_QUEUE
from policies.identity.identities import Allowed
from tests.unit.fakes import (
    FakeDurableClient,
    FakeEndpoints,
    FakeQueues,
    MemoryContainer,
    fake_parts,
)
from tests.unit.identity_fakes import World
from tests.unit.lines_fakes import CHAT, chat_file, job_line, jsonl
from triggers import batch_blobs, service_bus
from triggers.batch_submission import BatchSubmission
from triggers.submission import Caller, submit

JOB = {"flow": "f", "input": {"text": "hi"}}
INPUTS = "https://account.blob.core.windows.net/batch-inputs"


class Doors:
    """An app with the tenants `research` and `sales`."""

    def __init__(self, **world: Any) -> None:
        self.world = World(**world)
        self.container = MemoryContainer()
        self.inputs = MemoryContainer(name="batch-inputs", url=INPUTS)
        self.queues = FakeQueues()
        self.client = FakeDurableClient()

        async def never(*_: Any) -> Any:
            raise AssertionError("the doors run nothing")

        async def no_call(call: ModelCall, scope: Any) -> ModelAnswer:
            raise AssertionError("the doors call no model")

        parts = fake_parts(
            self.container,
            never,
            FakeEndpoints(no_call),
            queues=self.queues,
            inputs=self.inputs,
        )
        self.parts = replace(parts, identities=self.world.identities)

    async def message(self, token: str | None, body: Any = JOB, **fields: Any) -> None:
        properties = {} if token is None else {"authorization": f"Bearer {token}"}
        given = {
            "message_id": "m1",
            "application_properties": properties,
            "delivery_count": 1,
            "enqueued_time_utc": self.world.time.now(),
        }
        await service_bus.receive(
            self.parts,
            cast(Any, self.client),
            ServiceBusMessage(
                body=json.dumps(body).encode(), user_properties={}, **(given | fields)
            ),
        )

    async def blob(self, name: str) -> None:
        self.inputs._set(name, chat_file(1), {})
        await batch_blobs.receive(self.parts, cast(Any, self.client), name)

    @property
    def tenants(self) -> list[str]:
        return [ticket["tenant"] for ticket in self.client.started.values()]

    def rejection(self) -> dict[str, Any]:
        [reply] = self.queues.sent[RESULTS_QUEUE].values()
        told: dict[str, Any] = json.loads(reply.body)
        return told


@pytest.fixture
def doors() -> Doors:
    return Doors()


async def test_a_message_is_of_the_tenant_that_it_proves(doors):
    await doors.message(doors.world.token("sales", Role.SUBMIT))
    assert doors.tenants == ["sales"]
    assert any(name.startswith("sales/requests/") for name in doors.container.blobs)


async def test_a_message_that_waited_is_judged_by_the_time_at_which_it_was_sent(doors):
    token, sent_at = doors.world.token("sales"), doors.world.time.now()
    doors.world.time.seconds = 30 * 24 * 3600
    await doors.message(token, enqueued_time_utc=sent_at)
    await doors.message(token, enqueued_time_utc=sent_at.replace(tzinfo=None), message_id="m2")
    assert doors.tenants == ["sales", "sales"]
    await doors.message(token, message_id="m3")
    assert doors.rejection()["error"]["code"] == "unauthenticated"


async def test_a_message_without_a_proof_is_kept_with_the_reason_and_the_token_is_not(doors):
    await doors.message(doors.world.token("sales", exp=1))
    assert doors.tenants == []
    [kept] = doors.queues.sent[REJECTED_QUEUE].values()
    assert kept.properties == {"code": "unauthenticated", "reason": "The token has expired."}
    assert json.loads(kept.body) == JOB
    assert doors.rejection()["error"]["status"] == 401


async def test_a_message_takes_the_role_submit(doors):
    await doors.message(doors.world.token("sales", Role.READ, Role.OPERATE, Role.BILL))
    assert doors.rejection()["error"]["code"] == "forbidden"


async def test_two_tenants_messages_of_one_id_are_two_jobs(doors):
    for tenant in ("sales", "research", "sales"):
        await doors.message(doors.world.token(tenant))
    assert sorted(doors.tenants) == ["research", "sales"]


async def test_messages_without_a_proof_may_be_one_tenants():
    doors = Doors(unsigned_tenant="research")
    await doors.message(None)
    assert doors.tenants == ["research"]


async def test_a_blob_is_of_the_tenant_whose_folder_it_is_in(doors):
    await doors.blob("sales/2026/june.jsonl")
    assert doors.tenants == ["sales"]


@pytest.mark.parametrize(
    "name", ["june.jsonl", "nobody/june.jsonl", "Sales/june.jsonl", "/june.jsonl", "sales "]
)
async def test_a_blob_elsewhere_is_rejected(doors, name):
    await doors.blob(name)
    assert doors.tenants == []
    assert doors.rejection()["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("research/a.jsonl", True),
        ("research/none.jsonl", False),
        ("sales/a.jsonl", False),
        ("researchs/a.jsonl", False),
        ("a.jsonl", False),
    ],
)
async def test_a_callers_blob_is_in_the_folder_of_its_tenant(doors, name, found):
    for there in ("research/a.jsonl", "sales/a.jsonl", "researchs/a.jsonl", "a.jsonl"):
        doors.inputs._set(there, chat_file(1), {})
    body = {"batch": {"input_blob": f"{INPUTS}/{name}"}}
    await doors.message(doors.world.token("research"), body)
    assert doors.tenants == (["research"] if found else [])
    if not found:  # in the same words, whether there is one or not
        told = doors.rejection()["error"]
        assert told["detail"] == f"There is no blob {name!r} in the container batch-inputs."


# What a caller may name.


def caller(models: set[str] | None = None, flows: set[str] | None = None) -> Caller:
    names = [None if each is None else frozenset(each) for each in (models, flows)]
    return Caller(Identity("research", "key:1", frozenset(Role), *names))


@pytest.mark.parametrize(
    ("models", "flows", "asked", "allowed"),
    [
        (None, None, JOB, True),
        ({"chat"}, None, JOB, True),
        ({"embed"}, None, JOB, False),
        ({"embed"}, {"f"}, JOB, True),
        (None, {"g"}, JOB, False),
        ({"embed"}, {"f"}, JOB | {"model": "chat"}, False),
        ({"embed"}, {"f"}, JOB | {"model": "embed@v1"}, True),
        ({"chat"}, {"g"}, {"flow": "chat.completions", "input": {}, "model": "chat"}, True),
        ({"embed"}, None, {"flow": "chat.completions", "input": {}, "model": "chat"}, False),
    ],
)
async def test_a_job_names_what_its_caller_may_use(doors, models, flows, asked, allowed):
    request = JobRequest.model_validate(asked)
    try:
        await submit(doors.parts, cast(Any, doors.client), request, caller(models, flows))
    except Forbidden:
        assert not allowed
        assert doors.container.blobs == {}
    else:
        assert allowed


async def test_who_asks_for_what_there_is_not_is_told_of_their_own_alone(doors):
    request = JobRequest.model_validate(JOB | {"model": "none"})
    with pytest.raises(InvalidRequest) as raised:
        await submit(doors.parts, cast(Any, doors.client), request, caller({"embed"}))
    assert "one of embed." in raised.value.detail


@pytest.mark.parametrize(
    ("models", "flows", "lines", "endpoint", "problem"),
    [
        ({"chat"}, None, chat_file(1), CHAT, None),
        ({"embed"}, None, chat_file(1), CHAT, "No such model; there are embed."),
        ({"chat"}, None, jsonl(job_line("a")), "/v1/jobs", None),
        ({"embed"}, None, jsonl(job_line("a")), "/v1/jobs", "No such flow; there are none."),
        ({"embed"}, {"f"}, jsonl(job_line("a")), "/v1/jobs", None),
        (None, {"g"}, jsonl(job_line("a")), "/v1/jobs", "No such flow; there are none."),
        (
            {"embed"},
            {"f"},
            jsonl(job_line("a", model="chat")),
            "/v1/jobs",
            "No such model; there are embed.",
        ),
    ],
)
async def test_lines_name_what_the_caller_of_their_batch_may_use(
    doors, models, flows, lines, endpoint, problem
):
    async def content() -> Any:
        yield lines

    file = FileObject(id="file-1", bytes=0, created_at=1, filename="f", purpose="batch")
    await doors.parts.files.upload("research", file, content())
    request = BatchRequest(input_file_id="file-1", endpoint=endpoint, completion_window="24h")
    submission = BatchSubmission(doors.parts, cast(Any, doors.client), caller(models, flows))
    batch = await submission.of_file(request)
    engine: Batches = doors.parts.batches
    ticket = BatchTicket(
        id=batch.id, tenant=batch.tenant, expires_at=datetime.now(UTC) + timedelta(days=1)
    )
    validation = await engine.validate(ticket)
    told = await doors.parts.batch_store.get_problems(batch.tenant, batch.id)
    messages = [each.message for each in told.data] if told else []
    assert messages == ([problem] if problem else [])
    assert (validation.slices > 0) is (problem is None)


async def test_a_file_of_another_tenant_is_no_input(doors):
    async def content() -> Any:
        yield chat_file(1)

    file = FileObject(id="file-1", bytes=0, created_at=1, filename="f", purpose="batch")
    await doors.parts.files.upload("sales", file, content())
    request = BatchRequest(input_file_id="file-1", endpoint=CHAT, completion_window="24h")
    with pytest.raises(InvalidRequest, match="input_file_id"):
        await BatchSubmission(doors.parts, cast(Any, doors.client), caller()).of_file(request)


async def test_scopes_of_the_tenant_hold_for_messages_and_blobs():
    doors = Doors(tenants={"research": Allowed(models=frozenset({"embed"}))})
    await doors.message(doors.world.token("research"))
    assert doors.rejection()["error"]["code"] == "forbidden"
    with pytest.raises(NotFound):
        await doors.parts.batch_inputs.look("sales/x", folder="research")
