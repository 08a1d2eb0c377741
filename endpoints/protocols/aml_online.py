"""Azure ML online endpoints, managed and Kubernetes: `POST /score`.

The payload goes out as it is for every task, because the scoring script alone decides what it
takes: a script may well take an OpenAI body. For the same reason an OpenAI-shaped `usage` in the
answer is believed.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints
from yarl import URL

from contracts.calls import ModelCall, Task
from endpoints import json_body
from endpoints.protocols.common_settings import DeploymentSettings
from endpoints.protocols.json_http import JSON_HEADERS, JsonOverHttp
from endpoints.wire import Request

type _DeploymentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]


class AmlOnlineSettings(DeploymentSettings):
    protocol: Literal["aml_online"]
    deployment: _DeploymentName | None = None
    """A deployment of the endpoint to ask for past the traffic split."""


class AmlOnline(JsonOverHttp):
    tasks = frozenset(Task)

    def __init__(self, settings: AmlOnlineSettings) -> None:
        self._url = URL(settings.url)
        self._headers = dict(JSON_HEADERS)
        if settings.deployment is not None:
            self._headers["azureml-model-deployment"] = settings.deployment

    def request(self, call: ModelCall) -> Request:
        return Request(self._url, self._headers, json_body.encode(call.payload))
