"""The OpenAI API's responses, and whether a server of it is ready."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue, ValidationError

from contracts.calls import ModelCall, Task, Usage
from contracts.errors import InvalidRequest
from endpoints.protocols import DeploymentProtocol, speak
from endpoints.protocols.openai import OpenAISettings

DATED = {"url": "https://r.openai.azure.com", "api_version": "2024-10-21"}


def openai(**fields: object) -> DeploymentProtocol:
    given = {"name": "d", "protocol": "openai", "url": "https://api/v1", "model": "gpt", **fields}
    return speak(OpenAISettings.model_validate(given))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com/v1/responses"),
        (
            "https://r.openai.azure.com/openai/v1/",
            "https://r.openai.azure.com/openai/v1/responses",
        ),
    ],
)
def test_responses(url: str, address: str) -> None:
    payload: JsonValue = {"input": "hi", "model": "theirs", "background": False}
    request = openai(url=url).request(ModelCall("m", Task.RESPONSES, payload))
    assert str(request.url) == address
    assert json.loads(request.body) == {"input": "hi", "model": "gpt", "background": False}


@pytest.mark.parametrize("field", ["stream", "background"])
def test_an_answer_in_pieces_or_for_later_is_refused(field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        openai().request(ModelCall("m", Task.RESPONSES, {"input": "hi", field: True}))
    assert [problem.field for problem in raised.value.problems] == [f"payload.{field}"]


def test_usage_of_a_response() -> None:
    answer: JsonValue = {"usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13}}
    assert openai().usage(answer) == Usage(input_tokens=9, output_tokens=4, requests=1)


def test_azures_dated_api_has_no_responses() -> None:
    assert openai().tasks == {Task.CHAT, Task.EMBEDDINGS, Task.RESPONSES}
    assert openai(**DATED).tasks == {Task.CHAT, Task.EMBEDDINGS}


@pytest.mark.parametrize("path", ["chat/completions", "embeddings", "responses", "responses/"])
def test_the_url_is_the_base_url(path: str) -> None:
    with pytest.raises(ValidationError, match="url to be the base URL"):
        openai(url=f"https://api/v1/{path}")


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"url": "http://vllm:8000/v1", "health_path": "/health"}, "http://vllm:8000/health"),
        ({"url": "https://g/a/v1?k=1", "health_path": "/a/healthz"}, "https://g/a/healthz"),
    ],
)
def test_health(fields: dict[str, str], address: str) -> None:
    health = openai(**fields).health()
    assert health is not None
    assert (str(health.url), health.method, health.body) == (address, "GET", b"")


def test_without_a_path_there_is_no_probe() -> None:
    assert openai().health() is None
    assert openai(**DATED).health() is None


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"health_path": "health"}, "pattern"),
        ({"health_path": "http://elsewhere/"}, "pattern"),
        ({"health_path": "/health?all=1"}, "pattern"),
        ({**DATED, "health_path": "/health"}, "no health_path when there is an api_version"),
    ],
)
def test_health_paths_that_cannot_work(fields: dict[str, str], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        openai(**fields)
