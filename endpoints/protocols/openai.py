"""The OpenAI API, chat completions and embeddings: OpenAI, vLLM-like servers, Azure OpenAI.

Azure OpenAI has two doors. With `api_version` in the settings its dated one is used: the model in
the path, the version in the query, a key in the `api-key` header. Without, its `/openai/v1` is
spoken to like any other server of this API.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints, model_validator
from yarl import URL

from contracts.calls import ModelCall, Task
from contracts.errors import InvalidRequest
from contracts.problems import FieldProblem
from endpoints import json_body
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import JSON_HEADERS, JsonOverHttp
from endpoints.wire import Request

_PATHS = {Task.CHAT: "chat/completions", Task.EMBEDDINGS: "embeddings"}

type _Version = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.-]{1,32}$")]


class OpenAISettings(DeploymentSettings):
    protocol: Literal["openai"]
    model: Annotated[str, StringConstraints(pattern=r"^[^\s/]\S{0,255}$")]
    """The model's name at this server; at Azure OpenAI the name of its deployment."""
    api_version: _Version | None = None
    """For Azure OpenAI's dated API only: 2024-10-21."""

    @model_validator(mode="after")
    def _base_url(self) -> OpenAISettings:
        path = URL(self.url).path.rstrip("/")
        if path.endswith(tuple(_PATHS.values())):
            raise expected("url to be the base URL, without /chat/completions or /embeddings")
        if self.api_version is not None and "/openai/" in f"{path}/":
            raise expected("url to end before /openai when there is an api_version")
        return self


class OpenAI(JsonOverHttp):
    tasks = frozenset(_PATHS)

    def __init__(self, settings: OpenAISettings) -> None:
        self._model = settings.model
        self._urls = {task: _url(settings, path) for task, path in _PATHS.items()}
        # Azure's dated API takes keys in a header of its own, tokens in the standard one.
        keyed = settings.auth is not None and settings.auth.key is not None
        self._api_key_header = keyed and settings.api_version is not None

    def request(self, call: ModelCall) -> Request:
        if not isinstance(call.payload, dict):
            raise _invalid("payload", f"a JSON object, the body of an OpenAI {call.task} request")
        if call.payload.get("stream"):
            raise _invalid("payload.stream", "false or absent: the answer is given whole")
        body = json_body.encode({**call.payload, "model": self._model})
        return Request(self._urls[call.task], JSON_HEADERS, body)

    def authorization(self, secret: str) -> tuple[str, str]:
        return ("api-key", secret) if self._api_key_header else super().authorization(secret)


def _url(settings: OpenAISettings, path: str) -> URL:
    base = URL(settings.url)
    if settings.api_version is None:
        return (base / path).with_query(base.query)
    dated = base / "openai/deployments" / settings.model / path
    return dated.with_query(base.query).update_query({"api-version": settings.api_version})


def _invalid(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: expected {what}.", [FieldProblem(field=field, expected=what)])
