"""Triton Inference Server and others of the KServe v2 protocol: `POST v2/models/M/infer`.

Triton says much of what matters in the text of an error alone: a full queue is a 503 as any other,
a request that cannot be parsed a 500. So the texts that its own front gives are known here, and
what is remembered of them is our words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, JsonValue, StringConstraints, model_validator
from yarl import URL

from contracts.calls import AttemptOutcome, ModelCall, Task
from endpoints import json_body, verdicts
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import JSON_HEADERS, JsonOverHttp, below, probe
from endpoints.protocols.kserve_answer import inference_answer
from endpoints.protocols.kserve_request import binary, inference_request
from endpoints.protocols.tensor_bytes import BINARY_ONLY, Datatype
from endpoints.retry_after import retry_after
from endpoints.verdicts import Verdict
from endpoints.wire import Reply, Request

JSON_SIZE = "inference-header-content-length"
"""The header of the binary tensor data extension: how many bytes of the body are JSON."""


class TritonSettings(DeploymentSettings):
    protocol: Literal["triton"]
    model: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.:-]{0,255}$")]
    """The model's name at this server."""
    model_version: Annotated[
        str | None, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$", coerce_numbers_to_str=True)
    ] = None
    """Without, the server's own policy chooses."""
    binary: bool = False
    """Whether tensors go to the server and come back in binary form."""
    datatypes: dict[str, Datatype] = Field(default_factory=dict)
    """Of plain inputs by name, where they are not BOOL, INT64, FP64 or BYTES."""

    @model_validator(mode="after")
    def _consistent(self) -> TritonSettings:
        if "v2" in URL(self.url).parts:
            raise expected("url to end before /v2")
        if not self.binary and not BINARY_ONLY.isdisjoint(self.datatypes.values()):
            raise expected("binary: true, since JSON cannot carry FP16 and BF16")
        return self


class Triton(JsonOverHttp):
    tasks = frozenset({Task.SCORE})

    def __init__(self, settings: TritonSettings) -> None:
        version = f"/versions/{settings.model_version}" if settings.model_version else ""
        model = f"v2/models/{settings.model}{version}"
        self._url = below(settings.url, f"{model}/infer")
        self._health = probe(below(settings.url, f"{model}/ready"))
        self._binary = settings.binary
        self._datatypes: Mapping[str, str] = settings.datatypes

    def request(self, call: ModelCall) -> Request:
        request = inference_request(call.payload, self._datatypes)
        if not self._binary:
            return Request(self._url, JSON_HEADERS, json_body.encode(request))
        body, json_size = binary(request)
        headers = {"content-type": "application/octet-stream", JSON_SIZE: str(json_size)}
        return Request(self._url, headers, body)

    def health(self) -> Request | None:
        return self._health

    def answer(self, reply: Reply) -> JsonValue:
        return inference_answer(reply.body or b"", reply.headers.get(JSON_SIZE))

    def verdict(self, reply: Reply, now: datetime) -> Verdict:
        text = _error_text(reply.body)
        for said, outcome, words in _REFUSALS:
            if said.match(text):
                wait = None
                if outcome in ("throttled", "failed"):
                    wait = retry_after(reply.headers, now) or verdicts.DEFAULT_WAIT
                return Verdict(outcome, f"HTTP {reply.status} ({words})", wait=wait)
        return super().verdict(reply, now)


def _refusal(
    text: str, outcome: AttemptOutcome, words: str
) -> tuple[re.Pattern[str], AttemptOutcome, str]:
    return re.compile(rf"(\[request id: .*?\] )?{text}"), outcome, words


# Given before the model is asked, whatever the status: that it cannot have run is certain. Matched
# at the start alone, for further on a text may quote what the model said.
_REFUSALS = (
    _refusal("Exceeds maximum queue size", "throttled", "queue full"),
    _refusal("Request timeout expired", "throttled", "timed out in the queue"),
    _refusal("Request for unknown model: .* is not at ready state", "failed", "model not ready"),
    _refusal("Model .{1,300} is not ready yet", "failed", "model not ready"),  # MLServer: a 400
    _refusal("Request for unknown model", "unusable", "unknown model"),
    _refusal("Unable to parse '", "rejected", "request not understood"),
    _refusal("failed to parse the request JSON", "rejected", "request not understood"),
)


def _error_text(body: bytes | None) -> str:
    """What `{"error": text}` says; nothing when it is not of that form."""
    try:
        decoded = json_body.decode(body or b"")
    except json_body.NotJson:
        return ""
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, str) else ""
