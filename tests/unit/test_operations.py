"""What the service says of itself when it is not set up."""

import json

import pytest

import wiring
from contracts.errors import Misconfigured
from tests.unit.http_fakes import asked
from triggers.operations import healthz, list_flows

WRONG = "deployments.yaml:5: models.embed.deployments[0].url: expected an absolute URL"


@pytest.fixture(autouse=True)
def not_set_up(monkeypatch):
    def parts():
        raise Misconfigured(WRONG)

    monkeypatch.setattr(wiring, "parts", parts)


async def answer(function, path: str) -> tuple[int, dict]:
    response = await function._function._func(asked("GET", path))
    return response.status_code, json.loads(response.body)


async def test_anybody_may_know_that_but_not_why():
    status, problem = await answer(healthz, "/healthz")
    assert status == 503
    assert problem["code"] == "misconfigured"
    assert WRONG not in problem["detail"]


async def test_with_tenants_nobody_is_known_and_so_nobody_is_told_why(monkeypatch):
    monkeypatch.setenv("SLUICE_TENANTS", "there-is-none.yaml")
    for function, path in ((list_flows, "/v1/flows"), (healthz, "/healthz")):
        status, problem = await answer(function, path)
        assert status == 503
        assert problem["detail"] == "The app is not set up: its log says why."


async def test_who_has_a_key_is_told_why():
    status, problem = await answer(list_flows, "/v1/flows")
    assert status == 503
    assert problem["detail"] == WRONG
