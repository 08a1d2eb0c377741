"""Databricks model serving: where it is asked, its limits, its errors. The bodies that it shares
with MLflow are tried in test_protocols_mlflow."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue, ValidationError

from contracts.calls import ModelCall, Task
from contracts.errors import InvalidRequest
from endpoints.protocols import DeploymentProtocol, speak
from endpoints.protocols.databricks import SCALE_UP_WAIT, DatabricksSettings
from endpoints.verdicts import DEFAULT_WAIT
from endpoints.wire import Reply
from tests.unit.endpoints_fakes import NOON, reply

WORKSPACE = "https://adb-1234567890.1.azuredatabricks.net"


def settings(**fields: object) -> DatabricksSettings:
    given = {"name": "d", "protocol": "databricks", "url": WORKSPACE, "endpoint": "churn", **fields}
    return DatabricksSettings.model_validate(given)


def databricks(**fields: object) -> DeploymentProtocol:
    return speak(settings(**fields))


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({}, f"{WORKSPACE}/serving-endpoints/churn/invocations"),
        (
            {"endpoint": "databricks-meta-llama-3-3-70b-instruct"},
            f"{WORKSPACE}/serving-endpoints/databricks-meta-llama-3-3-70b-instruct/invocations",
        ),
        (
            {"served_model": "churn-2"},
            f"{WORKSPACE}/serving-endpoints/churn/served-models/churn-2/invocations",
        ),
        (  # a route-optimized endpoint has a host of its own, with the workspace in the path
            {"url": "https://abc.serving.azuredatabricks.net/1234567890"},
            "https://abc.serving.azuredatabricks.net/1234567890/serving-endpoints/churn/invocations",
        ),
    ],
)
def test_addresses(fields: dict[str, object], address: str) -> None:
    protocol = databricks(**fields)
    request = protocol.request(ModelCall("m", Task.SCORE, {"inputs": [1]}))
    assert (str(request.url), request.method) == (address, "POST")
    assert protocol.health() is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": f"{WORKSPACE}/serving-endpoints"}, "url to end before /serving-endpoints"),
        ({"url": f"{WORKSPACE}/serving-endpoints/churn/invocations"}, "url to end before"),
        ({"endpoint": "a/b"}, "pattern"),
        ({"endpoint": ".."}, "pattern"),
        ({"served_model": "a b"}, "pattern"),
        ({"endpoint": None}, "string"),
    ],
)
def test_settings_that_cannot_work(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        settings(**fields)


def test_the_documented_limits_hold_where_nothing_else_is_said() -> None:
    assert settings().max_request_bytes == 16_000_000
    assert settings().timeout_seconds > 297
    assert settings(max_request_bytes=4_000_000).max_request_bytes == 4_000_000
    assert settings(max_request_bytes=None).max_request_bytes is None


@pytest.mark.parametrize(
    ("task", "payload"),
    [(Task.CHAT, {"messages": []}), (Task.RESPONSES, {"input": "hi", "stream": False})],
)
def test_chats_are_streamed_on_request(task: Task, payload: dict[str, JsonValue]) -> None:
    request = databricks().streaming_request(ModelCall("m", task, {**payload, "model": "theirs"}))
    assert json.loads(request.body) == {**payload, "stream": True}
    assert request.headers["accept"] == "text/event-stream"
    assert str(request.url) == f"{WORKSPACE}/serving-endpoints/churn/invocations"


@pytest.mark.parametrize("task", [Task.SCORE, Task.EMBEDDINGS])
def test_scores_and_embeddings_are_answered_whole(task: Task) -> None:
    with pytest.raises(InvalidRequest) as raised:
        databricks().streaming_request(ModelCall("m", task, {"input": "a", "inputs": [1]}))
    assert [problem.field for problem in raised.value.problems] == ["payload.stream"]


def error(code: str, message: str) -> JsonValue:
    return {"error_code": code, "message": message}


def test_a_rate_limit_is_waited_out() -> None:
    body = error(
        "REQUEST_LIMIT_EXCEEDED",
        "REQUEST_LIMIT_EXCEEDED: Exceeded workspace QPS rate limit for databricks-qwen3.",
    )
    verdict = databricks().verdict(reply(429, body, retry_after="30"), NOON)
    assert (verdict.outcome, verdict.wait) == ("throttled", 30.0)
    assert verdict.reason == "HTTP 429 (REQUEST_LIMIT_EXCEEDED)"
    assert databricks().verdict(reply(429, body), NOON).wait == DEFAULT_WAIT


def test_an_endpoint_that_scales_up_is_left_alone_meanwhile() -> None:
    body = error("TEMPORARILY_UNAVAILABLE", "The service is currently unavailable.")
    verdict = databricks().verdict(reply(503, body), NOON)
    assert (verdict.outcome, verdict.wait) == ("failed", SCALE_UP_WAIT)
    assert databricks().verdict(reply(503, body, retry_after="3"), NOON).wait == 3.0
    assert databricks().verdict(Reply(503, {}, b"upstream connect error"), NOON).wait == (
        SCALE_UP_WAIT
    )


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (403, "403", "Invalid access token."),
        (403, "PERMISSION_DENIED", "Token is expiring within 30 seconds. (token expired)"),
        (400, "400", "io.jsonwebtoken.ExpiredJwtException: JWT expired at 2026-03-02T11:59:00Z."),
        (401, "401", "Token is expired"),
    ],
)
def test_a_refused_token_is_told_under_several_statuses(
    status: int, code: str, message: str
) -> None:
    verdict = databricks().verdict(reply(status, error(code, message)), NOON)
    assert (verdict.outcome, verdict.token_refused) == ("unusable", True)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (403, error("PERMISSION_DENIED", "User does not have CAN_QUERY on churn"), "unusable"),
        (403, None, "unusable"),
        (403, [1], "unusable"),
        (400, error("BAD_REQUEST", "Failed: 'Invalid access token'"), "rejected"),
    ],
)
def test_other_refusals_do_not_speak_of_the_token(
    status: int, body: JsonValue, outcome: str
) -> None:
    verdict = databricks().verdict(reply(status, body), NOON)
    assert (verdict.outcome, verdict.token_refused) == (outcome, False)


@pytest.mark.parametrize(
    ("status", "passed_on", "outcome", "code"),
    [
        (400, {"error": {"code": "content_filter", "message": "…"}}, "rejected", "content_filter"),
        (429, {"error": {"code": "rate_limit_exceeded"}}, "throttled", "rate_limit_exceeded"),
        (429, {"error": {"code": "insufficient_quota"}}, "unusable", "insufficient_quota"),
        (400, error("INVALID_PARAMETER_VALUE", "…"), "rejected", "INVALID_PARAMETER_VALUE"),
    ],
)
def test_the_error_of_an_external_model_is_read(
    status: int, passed_on: JsonValue, outcome: str, code: str
) -> None:
    body: JsonValue = {
        "error": "Received error from openai",
        "external_model_provider": "openai",
        "external_model_message": passed_on,
    }
    verdict = databricks().verdict(reply(status, body), NOON)
    assert (verdict.outcome, verdict.reason) == (outcome, f"HTTP {status} ({code})")
