"""Calls that become jobs: whose wish it is, and how a job's end is answered."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from durabletask.client import OrchestrationStatus

from contracts.calls import Attempt, ModelAnswer, Task
from contracts.errors import DependencyUnavailable, InvalidRequest, OutcomeUnknown
from contracts.jobs import JobOutcome, JobRequest, JobTicket
from contracts.openai import ChatCompletionRequest
from contracts.states import JobStatus
from policies.identity.identities import PLATFORM_KEY
from tests.unit.fakes import FakeDurableClient, FakeEndpoints, MemoryContainer, fake_parts
from tests.unit.http_fakes import asked as requested
from triggers.http import Request
from triggers.openai import background
from triggers.openai.asked import Asked
from triggers.openai.background import Wanted, as_job, wanted

JOB = JobRequest(flow="f", input={})
ATTEMPT = Attempt(
    model="m",
    deployment="m-1",
    outcome="answered",
    started_at=datetime.now(UTC),
    seconds=0.1,
    request_id="r-1",
)


async def no_flow(*_: Any) -> None:
    raise AssertionError("the door runs no flow")


async def no_model(*_: Any) -> ModelAnswer:
    raise AssertionError("the door calls no model")


def ask(headers: dict[str, str] | None = None, *, down: bool = False, **fields: Any) -> Asked:
    body = ChatCompletionRequest(model="m", messages=[{"role": "user"}], **fields)
    parts = fake_parts(MemoryContainer(down=down), no_flow, FakeEndpoints(no_model))
    cast(Any, parts.endpoints).models = ("m",)
    req = Request(requested("POST", headers=headers))
    req.identity = PLATFORM_KEY
    return Asked(req, parts, "{}", Task.CHAT, body)


@pytest.mark.parametrize(
    ("prefer", "fields", "expected"),
    [
        (None, {}, None),
        (None, {"background": False}, None),
        (None, {"background": True}, Wanted(None)),
        ("wait=7", {}, Wanted(7)),
        ("wait=0", {}, Wanted(0)),
        ("wait=7", {"background": True}, Wanted(7)),
        ("wait=7", {"stream": True}, None),
        ("handling=lenient", {}, None),
    ],
)
def test_whose_wish_it_is(prefer, fields, expected):
    assert wanted(ask({"Prefer": prefer} if prefer else None, **fields)) == expected


def test_a_job_is_not_streamed():
    with pytest.raises(InvalidRequest) as raised:
        wanted(ask(background=True, stream=True))
    assert raised.value.problems[0].field == "stream"


class Client(FakeDurableClient):
    """Starts jobs that end at once, as told."""

    outcome: JobOutcome | None = None
    closed = False

    async def wait_for_orchestration_completion(self, instance_id: str, *, timeout: int) -> Any:
        if self.outcome is None:
            raise TimeoutError
        return self._state(instance_id)

    async def get_orchestration_state(self, instance_id: str, **_: Any) -> Any:
        return self._state(instance_id) if instance_id in self.started else None

    def _state(self, instance_id: str) -> Any:
        class State:
            runtime_status = OrchestrationStatus.RUNNING
            serialized_custom_status = None
            serialized_output = None

        state = State()
        state.instance_id = instance_id  # type: ignore[attr-defined]
        if self.outcome is not None:
            state.runtime_status = OrchestrationStatus.COMPLETED
            state.serialized_output = self.outcome.model_dump_json()  # type: ignore[assignment]
        return state

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def client(monkeypatch) -> Client:
    client = Client()
    monkeypatch.setattr(background.df, "DurableFunctionsClient", lambda _: client)
    return client


def outcome(status: JobStatus, **fields: Any) -> JobOutcome:
    ticket = JobTicket(id="job_1", tenant="default", attempts=[ATTEMPT])
    return JobOutcome(status=status, ended_at=datetime.now(UTC), ticket=ticket, **fields)


async def test_a_job_that_goes_on_is_accepted(client):
    answer = await as_job(ask(), JOB, Wanted(1), lambda result, _: result)
    assert answer.status_code == 202
    [job_id] = client.started
    assert answer.headers["location"] == f"/v1/jobs/{job_id}"
    assert answer.headers["preference-applied"] == "wait=1"
    assert json.loads(answer.body)["status"] == "queued"
    assert client.closed


async def test_a_job_that_has_ended_is_answered_with_its_result(client, monkeypatch):
    asked = ask()
    client.outcome = outcome(JobStatus.SUCCEEDED, result_bytes=2)

    async def result(tenant: str, job_id: str) -> bytes:
        return b"{}"

    monkeypatch.setattr(type(asked.parts.jobs), "get_result", staticmethod(result))
    answer = await as_job(asked, JOB, Wanted(1), lambda given, attempts: given + b" shown")
    assert (answer.status_code, answer.body) == (200, b"{} shown")
    assert answer.headers["x-sluice-deployment"] == "m-1"


@pytest.mark.parametrize(
    ("ended", "status", "code"),
    [
        (
            outcome(JobStatus.FAILED, error=OutcomeUnknown("It broke off.").problem()),
            504,
            "outcome_unknown",
        ),
        (outcome(JobStatus.CANCELLED), 409, "conflict"),
        (outcome(JobStatus.SUCCEEDED, result_bytes=2), 404, "not_found"),
    ],
)
async def test_a_job_without_a_result_is_an_error(client, ended, status, code):
    client.outcome = ended
    try:
        answer = await as_job(ask(), JOB, Wanted(1), lambda result, _: result)
    except background.NotFound as error:  # told by the door
        assert (int(error.status), error.code) == (status, code)
        return
    assert answer.status_code == status
    assert json.loads(answer.body)["error"]["code"] == code


async def test_nothing_is_accepted_while_storage_is_down(client):
    with pytest.raises(DependencyUnavailable):
        await as_job(ask(down=True), JOB, Wanted(1), lambda result, _: result)
    assert not client.started
    assert client.closed
