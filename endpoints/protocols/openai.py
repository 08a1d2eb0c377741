"""The OpenAI API, chat completions, embeddings and responses: OpenAI, vLLM-like servers, Azure.

Azure OpenAI has two doors. With `api_version` in the settings its dated one is used: the model in
the path, the version in the query, a key in the `api-key` header. Without, its `/openai/v1` is
spoken to like any other server of this API. Only the latter has responses at every version.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator
from yarl import URL

from contracts.calls import JsonObject, ModelCall, Task
from endpoints import json_body
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import (
    EVENT_HEADERS,
    JSON_HEADERS,
    JsonOverHttp,
    below,
    invalid,
    probe,
)
from endpoints.wire import Request

_DATED_PATHS = {Task.CHAT: "chat/completions", Task.EMBEDDINGS: "embeddings"}
_PATHS = {**_DATED_PATHS, Task.RESPONSES: "responses"}

_LATER = ("stream", "background")
"""Fields that ask for an answer in pieces, or for none yet."""

type _Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.-]{1,32}$")]
type _Path = Annotated[str, StringConstraints(pattern=r"^/[^\s?#]{0,255}$")]


class OpenAISettings(DeploymentSettings):
    protocol: Literal["openai"]
    model: Annotated[str, StringConstraints(pattern=r"^[^\s/]\S{0,255}$")]
    """The model's name at this server; at Azure OpenAI the name of its deployment."""
    api_version: _Version | None = None
    """For Azure OpenAI's dated API only: 2024-10-21."""
    health_path: _Path | None = None
    """From the server's root, where a 2xx means that it is ready: /health at vLLM."""

    @model_validator(mode="after")
    def _base_url(self) -> OpenAISettings:
        path = URL(self.url).path.rstrip("/")
        if path.endswith(tuple(_PATHS.values())):
            raise expected(
                "url to be the base URL, without /chat/completions, /embeddings or /responses"
            )
        if self.api_version is not None and "/openai/" in f"{path}/":
            raise expected("url to end before /openai when there is an api_version")
        if self.api_version is not None and self.health_path is not None:
            raise expected("no health_path when there is an api_version: that API has none")
        return self


class OpenAI(JsonOverHttp):
    def __init__(self, settings: OpenAISettings) -> None:
        dated = settings.api_version is not None
        paths = _DATED_PATHS if dated else _PATHS
        self.tasks = frozenset(paths)
        self._model = settings.model
        self._urls = {task: _url(settings, path) for task, path in paths.items()}
        self._health = _health(settings)
        # Azure's dated API takes keys in a header of its own, tokens in the standard one.
        keyed = settings.auth is not None and settings.auth.key is not None
        self._api_key_header = keyed and dated

    def request(self, call: ModelCall) -> Request:
        payload = _object(call)
        for field in _LATER:
            if payload.get(field):
                raise invalid(f"payload.{field}", "false or absent: the answer is given whole")
        body = json_body.encode({**payload, "model": self._model})
        return Request(self._urls[call.task], JSON_HEADERS, body)

    def streaming_request(self, call: ModelCall) -> Request:
        if call.task is Task.EMBEDDINGS:
            raise invalid("payload.stream", "false or absent: embeddings are given whole")
        body = {**_object(call), "model": self._model, "stream": True}
        if call.task is Task.CHAT:
            body["stream_options"] = {**_options(body), "include_usage": True}
        return Request(self._urls[call.task], EVENT_HEADERS, json_body.encode(body))

    def health(self) -> Request | None:
        return self._health

    def authorization(self, secret: str) -> tuple[str, str]:
        return ("api-key", secret) if self._api_key_header else super().authorization(secret)


def _object(call: ModelCall) -> JsonObject:
    if not isinstance(call.payload, dict):
        raise invalid("payload", f"a JSON object, the body of an OpenAI {call.task} request")
    return call.payload


def _options(body: JsonObject) -> JsonObject:
    options = body.get("stream_options")
    return options if isinstance(options, dict) else {}


def _url(settings: OpenAISettings, path: str) -> URL:
    if settings.api_version is None:
        return below(settings.url, path)
    dated = below(settings.url, f"openai/deployments/{settings.model}/{path}")
    return dated.update_query({"api-version": settings.api_version})


def _health(settings: OpenAISettings) -> Request | None:
    if settings.health_path is None:
        return None
    return probe(URL(settings.url).origin().with_path(settings.health_path))
