"""Azure ML batch endpoints: a call becomes a job there, which reads and writes files.

Submitted by `POST URL`, looked at by `GET URL/NAME`; URL is the endpoint's `scoring_uri`, which
ends in /jobs. Both take an Entra token for https://ml.azure.com, and no key. Cancelling is not part
of that API: it is a request to Azure Resource Manager, for which the settings name the workspace.

The payload of SCORE says what to read, and where to write if that matters:

    {"inputs": {"data": {"type": "uri_folder", "path": "azureml://…"}, "mode": "append"},
     "outputs": {"score": {"type": "uri_file", "path": "azureml://…"}}}

An input that is text, a number or true/false is a literal. The answer is

    {"job": NAME, "status": "Completed", "outputs": {"score": "azureml://…"}}

The shapes are those of Microsoft Learn's "Create jobs and input data for batch endpoints", the
names of fields and statuses those of azure-ai-ml's BatchEndpointOperations and BatchJob. That SDK
also sends a job's name and a repeatability id, which no page documents: both are sent here too, and
endpoints/long_running.py counts on neither.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from uuid import NAMESPACE_URL, uuid5

from pydantic import Field, JsonValue, StringConstraints, model_validator
from yarl import URL

from contracts.calls import JsonObject, ModelCall, Task, Usage
from endpoints import json_body
from endpoints.json_body import NotJson
from endpoints.protocols.common_settings import DeploymentSettings, expected
from endpoints.protocols.json_http import JSON_HEADERS, JsonOverHttp, invalid
from endpoints.protocols.long_running import Broken, Ended, Progress, Working
from endpoints.wire import Reply, Request

CANCEL_API_VERSION = "2024-10-01"
REPEATABILITY = "repeatability_request-id"
"""Spelled as by azure-ai-ml, which submits again under the same id when a connection broke."""

_TYPES = {
    "uri_file": "UriFile",
    "uri_folder": "UriFolder",
    "mltable": "MLTable",
    "mlflow_model": "MLFlowModel",
    "triton_model": "TritonModel",
    "custom_model": "CustomModel",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")

type _DeploymentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9-]{0,63}$")]
type _Workspace = Annotated[
    str,
    StringConstraints(
        pattern=r"^/subscriptions/[\w-]+/resourceGroups/[\w.()-]+"
        r"/providers/Microsoft\.MachineLearningServices/workspaces/[\w-]+$"
    ),
]
type _Prefix = Annotated[str, StringConstraints(pattern=r"^[a-z]+:\S{1,1000}/$")]


class AmlBatchSettings(DeploymentSettings):
    protocol: Literal["aml_batch"]
    deployment: _DeploymentName | None = None
    """A deployment of the endpoint to ask for instead of its default one."""
    paths: Annotated[tuple[_Prefix, ...], Field(min_length=1)] | None = None
    """What every path of a payload must begin with one of. Anything when not given."""
    check_seconds: Annotated[float, Field(ge=1, le=3600)] = 60
    """Between two looks at a job that is under way."""
    longest_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 24
    """A job that has not ended by then is given up, and cancelled."""
    workspace: _Workspace | None = None
    """The workspace's resource id. With it a job can be cancelled."""
    management_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/]+$")] = (
        "https://management.azure.com"
    )
    """Azure Resource Manager, which other clouds have elsewhere."""

    @model_validator(mode="after")
    def _jobs_url(self) -> AmlBatchSettings:
        if URL(self.url).path.rstrip("/").split("/")[-1] != "jobs":
            raise expected("url to be the endpoint's scoring_uri, which ends in /jobs")
        if self.auth is not None and self.auth.key is not None:
            raise expected("auth to be managed_identity: batch endpoints take no keys")
        return self


class AmlBatch(JsonOverHttp):
    tasks = frozenset({Task.SCORE})

    def __init__(self, settings: AmlBatchSettings) -> None:
        self.check_seconds = settings.check_seconds
        self.longest_seconds = settings.longest_hours * 3600
        self.cancel_scope = f"{settings.management_url}/.default"
        self._url = URL(settings.url.rstrip("/"))
        self._headers = dict(JSON_HEADERS)
        if settings.deployment is not None:
            self._headers["azureml-model-deployment"] = settings.deployment
        self._paths = settings.paths
        self._jobs = f"{settings.management_url}{settings.workspace}/jobs"
        self._cancels = settings.workspace is not None

    def request(self, call: ModelCall) -> Request:
        """The submission, under a name that the service chooses."""
        body = json_body.encode({"properties": self._properties(call.payload)})
        return Request(self._url, self._headers, body)

    def submit(self, call: ModelCall, name: str) -> Request:
        body = json_body.encode({"properties": {**self._properties(call.payload), "name": name}})
        headers = {**self._headers, REPEATABILITY: str(uuid5(NAMESPACE_URL, name))}
        return Request(self._url, headers, body)

    def handle(self, reply: Reply) -> str:
        name = _name(_object(self.answer(reply)))
        if name is None:
            raise NotJson
        return name

    def poll(self, name: str) -> Request:
        return Request(self._url / name, {"accept": "application/json"}, b"", method="GET")

    def progress(self, reply: Reply) -> Progress:
        job = _object(self.answer(reply))
        properties = _object(job.get("properties"))
        status = properties.get("status")
        match status.lower() if isinstance(status, str) else status:
            case "completed" | "succeeded":
                return Ended(_answer(_name(job), str(status), properties))
            case "failed":
                return Broken("the batch job failed")
            case "canceled" | "cancelled":
                return Broken("the batch job was cancelled", cancelled=True)
            case str():
                return Working()
        raise NotJson

    def cancel(self, name: str) -> Request | None:
        if not self._cancels:
            return None
        url = (URL(self._jobs) / name / "cancel").with_query({"api-version": CANCEL_API_VERSION})
        return Request(url, {"accept": "application/json"}, b"")

    def usage(self, answer: JsonValue) -> Usage:
        """One request; what a job of the endpoint consumed is known to Azure alone."""
        return Usage(requests=1)

    def _properties(self, payload: JsonValue) -> JsonObject:
        if not isinstance(payload, dict) or not payload.keys() <= {"inputs", "outputs"}:
            raise invalid("payload", "a JSON object of inputs and, where wanted, outputs")
        given = {name: _mapping(name, value) for name, value in payload.items()}
        properties: JsonObject = {
            "InputData": {
                name: self._input(f"payload.inputs.{name}", value)
                for name, value in given.get("inputs", {}).items()
            }
        }
        if outputs := given.get("outputs"):
            properties["OutputData"] = {
                name: self._file(f"payload.outputs.{name}", "JobOutputType", value)
                for name, value in outputs.items()
            }
        return properties

    def _input(self, field: str, value: JsonValue) -> JsonObject:
        if isinstance(value, str | int | float | bool):
            return {"JobInputType": "Literal", "Value": value}
        return self._file(field, "JobInputType", value)

    def _file(self, field: str, kind: str, value: JsonValue) -> JsonObject:
        file = value if isinstance(value, dict) else {}
        path, type_ = file.get("path"), _TYPES.get(str(file.get("type")))
        if file.keys() != {"type", "path"} or type_ is None or not isinstance(path, str):
            kinds = ", ".join(_TYPES)
            raise invalid(field, f"an object of type (one of {kinds}) and path, a URI")
        if self._paths is not None and not _below(path, self._paths):
            raise invalid(f"{field}.path", f"a URI that begins with {' or '.join(self._paths)}")
        return {kind: type_, "Uri": path}


def _below(path: str, prefixes: tuple[str, ...]) -> bool:
    # A step upwards, written out or encoded, could lead out again.
    plain = path.replace("%2e", ".").replace("%2E", ".")
    return path.startswith(prefixes) and ".." not in re.split(r"[/\\]|%2[fF]|%5[cC]", plain)


def _name(job: JsonObject) -> str | None:
    """By which it is looked at: as it becomes part of an address, of letters, digits, - and _."""
    for name in (job.get("name"), str(job.get("id", "")).rpartition("/")[2]):
        if isinstance(name, str) and _NAME.fullmatch(name):
            return name
    return None


def _answer(name: str | None, status: str, properties: JsonObject) -> JsonObject:
    outputs: JsonObject = {
        output: found.get("uri", found.get("Uri"))
        for output, found in _object(properties.get("outputData", {})).items()
        if isinstance(found, dict)
    }
    return {"job": name, "status": status, "outputs": outputs}


def _mapping(name: str, value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise invalid(f"payload.{name}", "an object of names to values")
    return value


def _object(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise NotJson
    return value
