"""What the service says of itself when it is not set up."""

import json

import azure.functions as func
import pytest

import wiring
from contracts.errors import Misconfigured
from triggers.operations import healthz, list_flows

WRONG = "deployments.yaml:5: models.embed.deployments[0].url: expected an absolute URL"


@pytest.fixture(autouse=True)
def not_set_up(monkeypatch):
    def parts():
        raise Misconfigured(WRONG)

    monkeypatch.setattr(wiring, "parts", parts)


async def answer(function, path: str) -> tuple[int, dict]:
    request = func.HttpRequest("GET", f"http://localhost{path}", body=b"")
    response = await function._function._func(request)
    return response.status_code, json.loads(response.get_body())


async def test_anybody_may_know_that_but_not_why():
    status, problem = await answer(healthz, "/healthz")
    assert status == 503
    assert problem["code"] == "misconfigured"
    assert WRONG not in problem["detail"]


async def test_who_has_a_key_is_told_why():
    status, problem = await answer(list_flows, "/v1/flows")
    assert status == 503
    assert problem["detail"] == WRONG
