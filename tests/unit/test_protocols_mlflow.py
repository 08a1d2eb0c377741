"""MLflow's scoring server. The errors are those that MLflow 3.17 gives, shortened."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, ValidationError

from contracts.calls import ModelCall, Task, Usage
from contracts.errors import InvalidRequest
from endpoints.protocols import DeploymentProtocol, speak
from endpoints.protocols.databricks import DatabricksSettings
from endpoints.protocols.mlflow import MlflowSettings
from endpoints.wire import Reply
from tests.unit.endpoints_fakes import NOON, reply


def mlflow(**fields: object) -> DeploymentProtocol:
    given = {"name": "d", "protocol": "mlflow", "url": "http://m:5000", **fields}
    return speak(MlflowSettings.model_validate(given))


def databricks() -> DeploymentProtocol:
    fields = {"protocol": "databricks", "url": "https://adb-1.2.azuredatabricks.net"}
    return speak(DatabricksSettings.model_validate({"name": "d", "endpoint": "e", **fields}))


both = pytest.mark.parametrize("protocol", [mlflow(), databricks()], ids=["mlflow", "databricks"])


@pytest.mark.parametrize(
    ("url", "invocations", "ping"),
    [
        ("http://m:5000", "http://m:5000/invocations", "http://m:5000/ping"),
        ("https://g/team/?k=1", "https://g/team/invocations?k=1", "https://g/team/ping?k=1"),
    ],
)
def test_addresses(url: str, invocations: str, ping: str) -> None:
    protocol = mlflow(url=url)
    request = protocol.request(ModelCall("m", Task.SCORE, {"inputs": [1]}))
    assert (str(request.url), request.method) == (invocations, "POST")
    assert request.headers["content-type"] == "application/json"
    health = protocol.health()
    assert health is not None
    assert (str(health.url), health.method, health.body) == (ping, "GET", b"")


def test_the_url_is_the_base_url() -> None:
    with pytest.raises(ValidationError, match="url to be the base URL, without /invocations"):
        mlflow(url="http://m:5000/invocations/")


@both
@pytest.mark.parametrize(
    ("task", "payload"),
    [
        (Task.SCORE, {"dataframe_split": {"columns": ["x"], "data": [[1], [2]]}}),
        (Task.SCORE, {"dataframe_records": [{"x": 1.5}], "params": {"factor": 3}}),
        (Task.SCORE, {"instances": [[1, 2]], "params": {}}),
        (Task.SCORE, {"inputs": {"x": [1.5, 2]}, "client_request_id": "7"}),
        (Task.CHAT, {"messages": [{"role": "user", "content": "hi"}], "temperature": 0}),
        (Task.CHAT, {"input": [{"role": "user", "content": "hi"}], "stream": False}),
        (Task.EMBEDDINGS, {"input": ["a", "b"]}),
        (Task.RESPONSES, {"input": "hi", "max_output_tokens": 5}),
    ],
)
def test_payloads_go_out_as_they_are(
    protocol: DeploymentProtocol, task: Task, payload: JsonValue
) -> None:
    assert task in protocol.tasks
    assert json.loads(protocol.request(ModelCall("m", task, payload)).body) == payload


@both
def test_the_address_names_the_model(protocol: DeploymentProtocol) -> None:
    payload: JsonValue = {"messages": [], "model": "theirs"}
    assert json.loads(protocol.request(ModelCall("m", Task.CHAT, payload)).body) == {"messages": []}


@both
@pytest.mark.parametrize(
    ("task", "payload", "field"),
    [
        (Task.SCORE, None, "payload"),
        (Task.SCORE, [[1]], "payload"),
        (Task.SCORE, {}, "payload"),
        (Task.SCORE, {"data": [1]}, "payload"),
        (Task.SCORE, {"messages": []}, "payload"),
        (Task.SCORE, {"inputs": [1], "instances": [1]}, "payload"),
        (Task.SCORE, {"inputs": [1], "params": [1]}, "payload.params"),
        (Task.SCORE, {"inputs": [1], "params": None}, "payload.params"),
        (Task.CHAT, {"inputs": [1]}, "payload"),
        (Task.CHAT, {"messages": [], "input": "hi"}, "payload"),
        (Task.CHAT, {"messages": [], "stream": True}, "payload.stream"),
        (Task.EMBEDDINGS, {"messages": []}, "payload"),
        (Task.RESPONSES, "hi", "payload"),
    ],
)
def test_payloads_of_no_known_form(
    protocol: DeploymentProtocol, task: Task, payload: JsonValue, field: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        protocol.request(ModelCall("m", task, payload))
    assert [problem.field for problem in raised.value.problems] == [field]


def test_an_expected_form_is_named() -> None:
    with pytest.raises(InvalidRequest, match="exactly one of dataframe_split, dataframe_records"):
        mlflow().request(ModelCall("m", Task.SCORE, {}))
    with pytest.raises(InvalidRequest, match="a JSON object with input"):
        mlflow().request(ModelCall("m", Task.EMBEDDINGS, {}))


@both
def test_answers_and_usage(protocol: DeploymentProtocol) -> None:
    scores = protocol.answer(Reply(200, {}, b'{"predictions": [3.0, 6.0]}'))
    assert scores == {"predictions": [3.0, 6.0]}
    assert protocol.usage(scores) == Usage(requests=1)
    chat: JsonValue = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}
    assert protocol.usage(chat) == Usage(input_tokens=3, output_tokens=2, requests=1)
    assert protocol.authorization("secret") == ("authorization", "Bearer secret")


def error(code: str, message: str = "Failed to predict data 'hello'", **more: str) -> JsonValue:
    return {"error_code": code, "message": message, "sqlstate": "KAM00", **more}


# Its exceptions and their statuses: mlflow.exceptions.ERROR_CODE_TO_HTTP_STATUS.
ERRORS = [
    (400, "BAD_REQUEST", "rejected", False),
    (400, "INVALID_PARAMETER_VALUE", "rejected", False),
    (400, "RESOURCE_ALREADY_EXISTS", "rejected", False),
    (401, "UNAUTHENTICATED", "unusable", False),
    (401, "CUSTOMER_UNAUTHORIZED", "unusable", False),
    (403, "PERMISSION_DENIED", "unusable", False),
    (404, "RESOURCE_DOES_NOT_EXIST", "unusable", False),
    (404, "ENDPOINT_NOT_FOUND", "unusable", False),
    (404, "FEATURE_DISABLED", "unusable", False),
    (409, "RESOURCE_CONFLICT", "rejected", False),
    (429, "REQUEST_LIMIT_EXCEEDED", "throttled", False),
    (429, "RESOURCE_EXHAUSTED", "throttled", False),
    (499, "CANCELLED", "rejected", False),
    (500, "INTERNAL_ERROR", "failed", True),
    (500, "INVALID_STATE", "failed", True),
    (501, "NOT_IMPLEMENTED", "failed", True),
    (503, "TEMPORARILY_UNAVAILABLE", "failed", True),
    (504, "DEADLINE_EXCEEDED", "failed", True),
]


@both
@pytest.mark.parametrize(("status", "code", "outcome", "may_have_run"), ERRORS)
def test_errors_are_judged_by_their_status_and_known_by_their_code(
    protocol: DeploymentProtocol, status: int, code: str, outcome: str, may_have_run: bool
) -> None:
    verdict = protocol.verdict(reply(status, error(code)), NOON)
    assert (verdict.outcome, verdict.may_have_run) == (outcome, may_have_run)
    assert verdict.reason == f"HTTP {status} ({code})"


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (404, b'{"detail":"Not Found"}', "unusable"),
        (405, b'{"detail":"Method Not Allowed"}', "unusable"),
        (415, b"This predictor only supports the following content types: ...", "rejected"),
        (504, b"Request processing time exceeded limit", "failed"),
    ],
)
def test_errors_without_a_code(status: int, body: bytes, outcome: str) -> None:
    verdict = mlflow().verdict(Reply(status, {}, body), NOON)
    assert (verdict.outcome, verdict.reason) == (outcome, f"HTTP {status}")


prompts = st.text(min_size=1).map(lambda text: f"{text} and {text}")


@both
@given(prompt=prompts, status=st.integers(min_value=300, max_value=599))
def test_no_text_of_an_error_leaves_the_verdict(
    protocol: DeploymentProtocol, prompt: str, status: int
) -> None:
    body = error(prompt, prompt, stack_trace=prompt, error_class=prompt)
    verdict = protocol.verdict(reply(status, body), NOON)
    assert (verdict.reason, verdict.param) == (f"HTTP {status}", None)
