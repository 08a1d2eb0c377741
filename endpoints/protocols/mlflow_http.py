"""What MLflow's scoring server and Databricks model serving share: the bodies of `/invocations`.

A score is in one of MLflow's four forms and answered as `{"predictions": …}`. An OpenAI body is
known there by its `messages` or `input`, and answered bare.
"""

from __future__ import annotations

from yarl import URL

from contracts.calls import JsonObject, ModelCall, Task
from endpoints import json_body
from endpoints.protocols.json_http import JSON_HEADERS, JsonOverHttp, invalid
from endpoints.wire import Request

_FORMS = {
    Task.SCORE: ("dataframe_split", "dataframe_records", "instances", "inputs"),
    Task.CHAT: ("messages", "input"),
    Task.EMBEDDINGS: ("input",),
    Task.RESPONSES: ("input",),
}
"""The fields of which a body has exactly one: it says what the body is."""


class MlflowOverHttp(JsonOverHttp):
    tasks = frozenset(_FORMS)

    def __init__(self, url: URL) -> None:
        self._url = url

    def request(self, call: ModelCall) -> Request:
        body = checked_body(call)
        if call.task is not Task.SCORE and body.get("stream"):
            raise invalid("payload.stream", "false or absent: the answer is given whole")
        return Request(self._url, JSON_HEADERS, json_body.encode(body))


def checked_body(call: ModelCall) -> JsonObject:
    """The payload, an OpenAI body without `model`, which the address names. Raises InvalidRequest
    for what is of no form of the task."""
    payload = call.payload
    if not isinstance(payload, dict):
        raise invalid("payload", f"a JSON object, the body of a {call.task} request")
    forms = _FORMS[call.task]
    if sum(form in payload for form in forms) != 1:
        one = "exactly one of " if len(forms) > 1 else ""
        raise invalid("payload", f"a JSON object with {one}{', '.join(forms)}")
    if call.task is not Task.SCORE:
        return {name: value for name, value in payload.items() if name != "model"}
    if not isinstance(payload.get("params", {}), dict):
        raise invalid("payload.params", "a JSON object, or nothing")
    return payload
