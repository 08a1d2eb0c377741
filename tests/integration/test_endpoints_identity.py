"""Tokens from azure-identity itself, out of an App Service identity endpoint played on loopback."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from contracts.calls import CallScope, ModelCall, Task
from contracts.errors import CallFailed
from endpoints import Endpoints
from endpoints.credentials import TokenUnavailable, azure_token
from endpoints.settings import Settings
from tests.integration.endpoints_server import ModelServer, Play, answers, model_server

SCOPE = "https://ml.azure.com/.default"
CALL = ModelCall("m", Task.SCORE, {})


def token(value: str) -> Play:
    """As App Service answers; expires_on is Unix time, in text."""
    return answers(
        200,
        {
            "access_token": value,
            "expires_on": str(int(time.time()) + 86_400),
            "resource": "https://ml.azure.com",
            "token_type": "Bearer",
        },
    )


@pytest.fixture
async def identity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ModelServer]:
    async with model_server() as server:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"http://127.0.0.1:{server.port}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "header-secret")
        monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "ManagedIdentityCredential")
        for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID"):
            monkeypatch.delenv(name, raising=False)
        yield server


async def test_a_managed_identity_calls_an_endpoint(identity: ModelServer) -> None:
    identity.plays(token("from-entra"))
    async with model_server() as model:
        models = identified(model)
        for _ in range(3):
            assert (await models.invoke(CALL, CallScope("j", "t"))).body == {"ok": True}
        await models.aclose()
    (asked,) = identity.received
    assert "resource=https" in asked.path
    assert "ml.azure.com" in asked.path
    assert [call.headers["authorization"] for call in model.received] == ["Bearer from-entra"] * 3


async def test_a_new_token_is_a_new_one(identity: ModelServer) -> None:
    """No cache of the SDK stands between a refused token and its successor."""
    identity.plays(token("one"), token("two"))
    assert [(await azure_token(SCOPE)).value for _ in range(2)] == ["one", "two"]


@pytest.mark.parametrize("status", [400, 403, 500])
async def test_an_identity_that_is_refused(identity: ModelServer, status: int) -> None:
    identity.plays(answers(status, {"message": "no"}))
    with pytest.raises(TokenUnavailable, match="Error"):
        await azure_token(SCOPE)
    assert len(identity.received) == 1  # waiting and trying again is not the SDK's


async def test_a_call_without_a_token_fails_and_may_be_tried_later(identity: ModelServer) -> None:
    identity.plays(answers(400, {"message": "no identity assigned"}))
    async with model_server() as model:
        models = identified(model)
        with pytest.raises(CallFailed, match="no token of the managed identity"):
            await models.invoke(CALL, CallScope("j", "t"))
        await models.aclose()
    assert model.received == []


def identified(model: ModelServer) -> Endpoints:
    deployment = {
        "name": "a",
        "protocol": "aml_online",
        "url": model.url,
        "auth": {"managed_identity": SCOPE},
    }
    return Endpoints(Settings.model_validate({"models": {"m": {"deployments": [deployment]}}}))
