"""What goes out to each kind of deployment, and what is read from its answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from contracts.calls import ModelCall, Task, Usage
from contracts.errors import InvalidRequest
from endpoints.json_body import NotJson
from endpoints.protocols import DeploymentProtocol, speak
from endpoints.protocols.aml_online import AmlOnlineSettings
from endpoints.protocols.openai import OpenAISettings
from endpoints.wire import Reply

JSON = {"content-type": "application/json", "accept": "application/json"}


def aml(**fields: object) -> DeploymentProtocol:
    given = {"name": "d", "protocol": "aml_online", "url": "https://e/score", **fields}
    return speak(AmlOnlineSettings.model_validate(given))


def openai(**fields: object) -> DeploymentProtocol:
    given = {"name": "d", "protocol": "openai", "url": "https://api/v1", "model": "gpt", **fields}
    return speak(OpenAISettings.model_validate(given))


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("payload", [{"text": "é"}, [1, 2.5, None], "text", None, {"stream": True}])
def test_aml_passes_any_payload_on_as_it_is(task: Task, payload: JsonValue) -> None:
    request = aml().request(ModelCall("m", task, payload))
    assert str(request.url) == "https://e/score"
    assert request.headers == JSON
    assert json.loads(request.body) == payload


def test_aml_names_the_deployment_past_the_traffic_split() -> None:
    request = aml(deployment="green").request(ModelCall("m", Task.SCORE, {}))
    assert request.headers == JSON | {"azureml-model-deployment": "green"}


@pytest.mark.parametrize(
    ("fields", "chat", "embeddings"),
    [
        (
            {"url": "https://api.openai.com/v1"},
            "https://api.openai.com/v1/chat/completions",
            "https://api.openai.com/v1/embeddings",
        ),
        (
            {"url": "http://localhost:8000/v1/?tenant=a%20b"},
            "http://localhost:8000/v1/chat/completions?tenant=a+b",
            "http://localhost:8000/v1/embeddings?tenant=a+b",
        ),
        (
            {"url": "https://r.openai.azure.com/", "api_version": "2024-10-21"},
            "https://r.openai.azure.com/openai/deployments/gpt/chat/completions"
            "?api-version=2024-10-21",
            "https://r.openai.azure.com/openai/deployments/gpt/embeddings?api-version=2024-10-21",
        ),
        (
            {"url": "https://gateway/team", "api_version": "2024-10-21"},
            "https://gateway/team/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
            "https://gateway/team/openai/deployments/gpt/embeddings?api-version=2024-10-21",
        ),
    ],
)
def test_openai_addresses(fields: dict[str, str], chat: str, embeddings: str) -> None:
    protocol = openai(**fields)
    assert str(protocol.request(ModelCall("m", Task.CHAT, {})).url) == chat
    assert str(protocol.request(ModelCall("m", Task.EMBEDDINGS, {})).url) == embeddings


def test_openai_gives_the_model_its_name_at_the_server() -> None:
    payload: JsonValue = {"messages": [{"role": "user", "content": "hi"}], "model": "theirs"}
    request = openai().request(ModelCall("m", Task.CHAT, payload))
    assert json.loads(request.body) == {"messages": payload["messages"], "model": "gpt"}
    assert payload["model"] == "theirs"  # the caller's own payload is left alone


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([1], "payload"),
        ("text", "payload"),
        (None, "payload"),
        ({"stream": True}, "payload.stream"),
    ],
)
def test_openai_refuses_what_it_cannot_carry(payload: JsonValue, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        openai().request(ModelCall("m", Task.CHAT, payload))
    assert [problem.field for problem in raised.value.problems] == [field]


def test_openai_does_not_score() -> None:
    assert Task.SCORE not in openai().tasks
    assert aml().tasks == set(Task)


KEY = {"key": "k"}
IDENTITY = {"managed_identity": "https://cognitiveservices.azure.com/.default"}
DATED = {"url": "https://r.openai.azure.com", "api_version": "2024-10-21"}


@pytest.mark.parametrize(
    ("protocol", "header"),
    [
        (aml(auth=KEY), ("authorization", "Bearer secret")),
        (aml(auth=IDENTITY), ("authorization", "Bearer secret")),
        (openai(auth=KEY), ("authorization", "Bearer secret")),
        (openai(auth=KEY, **DATED), ("api-key", "secret")),
        (openai(auth=IDENTITY, **DATED), ("authorization", "Bearer secret")),
    ],
)
def test_credentials_go_where_each_door_looks_for_them(
    protocol: DeploymentProtocol, header: tuple[str, str]
) -> None:
    assert protocol.authorization("secret") == header


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_json_lacks_is_the_callers_mistake(number: float) -> None:
    with pytest.raises(InvalidRequest):
        aml().request(ModelCall("m", Task.SCORE, {"x": [number]}))


def test_half_a_surrogate_pair_passes_through() -> None:
    request = aml().request(ModelCall("m", Task.SCORE, "\ud83d"))
    assert json.loads(request.body) == "\ud83d"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"\xff\xfe\xfd", b'{"x": NaN}', b"[" * 200_000, b"data: {}\n\n"]
)
def test_an_answer_that_is_not_json_is_told_so(body: bytes) -> None:
    with pytest.raises(NotJson):
        aml().answer(Reply(200, {}, body))


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}}, (9, 4)),
        ({"usage": {"prompt_tokens": 9, "total_tokens": 9}}, (9, 0)),
        ({"usage": {"input_tokens": 9, "output_tokens": 4}}, (9, 4)),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": "4"}}, (0, 0)),
        ({"usage": {"prompt_tokens": True, "completion_tokens": None}}, (0, 0)),
        ({"usage": None}, (0, 0)),
        ({"usage": 3}, (0, 0)),
        ({"label": "a"}, (0, 0)),
        ([1], (0, 0)),
    ],
)
@pytest.mark.parametrize("protocol", [aml(), openai()])
def test_usage(protocol: DeploymentProtocol, answer: JsonValue, usage: tuple[int, int]) -> None:
    read = protocol.usage(answer)
    assert read == Usage(input_tokens=usage[0], output_tokens=usage[1], requests=1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_what_goes_out_comes_back(payload: JsonValue) -> None:
    body = aml().request(ModelCall("m", Task.SCORE, payload)).body
    assert aml().answer(Reply(200, {}, body)) == payload
