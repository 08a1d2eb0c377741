"""Databricks model serving: custom models, foundation models, external models, agents.

`POST /serving-endpoints/NAME/invocations` at the workspace. Whether an endpoint is ready only the
control plane says, which is no probe to be asked often.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator
from yarl import URL

from contracts.calls import ModelCall, Task
from endpoints import json_body
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import EVENT_HEADERS, below, invalid
from endpoints.protocols.mlflow_http import MlflowOverHttp, checked_body
from endpoints.verdicts import Verdict
from endpoints.wire import Reply, Request

SCALE_UP_WAIT = 10.0
"""Seconds to leave an endpoint alone after a 503 that does not say for how long: what scaling up
from zero takes at the least."""

_TOKEN_REFUSED = ("Invalid access token", "Token is expir", "io.jsonwebtoken.ExpiredJwtException")
"""How messages begin that refuse the token itself, under a 403 or a 400 as well as a 401."""

type _Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$")]


class DatabricksSettings(DeploymentSettings):
    protocol: Literal["databricks"]
    endpoint: _Name
    """The name of the serving endpoint."""
    served_model: _Name | None = None
    """One served entity of the endpoint to ask for past its traffic split."""
    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 300
    """Outlasts the 297 s after which Databricks itself gives up, so that its answer arrives."""
    max_request_bytes: Annotated[int, Field(gt=0)] | None = 16_000_000
    """Databricks' 16 MB; 4 MB where foundation models, external models or agents are served."""

    @model_validator(mode="after")
    def _workspace_url(self) -> DatabricksSettings:
        if "serving-endpoints" in URL(self.url).parts:
            raise expected("url to end before /serving-endpoints")
        return self


class Databricks(MlflowOverHttp):
    def __init__(self, settings: DatabricksSettings) -> None:
        one = f"/served-models/{settings.served_model}" if settings.served_model else ""
        path = f"serving-endpoints/{settings.endpoint}{one}/invocations"
        super().__init__(below(settings.url, path))

    def streaming_request(self, call: ModelCall) -> Request:
        """Chats and responses, of foundation models, external models and agents."""
        if call.task not in (Task.CHAT, Task.RESPONSES):
            raise invalid("payload.stream", f"false or absent: {call.task} is answered whole")
        body = {**checked_body(call), "stream": True}
        return Request(self._url, EVENT_HEADERS, json_body.encode(body))

    def verdict(self, reply: Reply, now: datetime) -> Verdict:
        verdict = super().verdict(reply, now)
        if reply.status in (400, 403) and _message(reply.body).startswith(_TOKEN_REFUSED):
            return replace(verdict, outcome="unusable", token_refused=True)
        if reply.status == 503 and verdict.wait is None:
            return replace(verdict, wait=SCALE_UP_WAIT)
        return verdict


def _message(body: bytes | None) -> str:
    """The text of an error, to be read here and repeated nowhere."""
    try:
        decoded = json_body.decode(body or b"")
    except json_body.NotJson:
        return ""
    message = decoded.get("message") if isinstance(decoded, dict) else None
    return message if isinstance(message, str) else ""
