"""What goes out to a batch endpoint, and what is read from its answers."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue, ValidationError

from contracts.calls import ModelCall, Task
from contracts.errors import InvalidRequest
from endpoints.json_body import NotJson
from endpoints.protocols.aml_batch import REPEATABILITY, AmlBatch, AmlBatchSettings
from endpoints.protocols.interface import DeploymentProtocol
from endpoints.protocols.long_running import Broken, Ended, LongRunning, Working
from endpoints.wire import Request
from tests.unit.batch_fakes import job
from tests.unit.endpoints_fakes import reply

URL = "https://churn.westeurope.inference.ml.azure.com/jobs"
WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/my-group"
    "/providers/Microsoft.MachineLearningServices/workspaces/my-workspace"
)
FOLDER = {"type": "uri_folder", "path": "azureml://datastores/in/paths/march/"}


def settings(**fields: object) -> AmlBatchSettings:
    given = {"name": "d", "protocol": "aml_batch", "url": URL, **fields}
    return AmlBatchSettings.model_validate(given)


def batch(**fields: object) -> AmlBatch:
    return AmlBatch(settings(**fields))


def call(payload: JsonValue) -> ModelCall:
    return ModelCall("churn", Task.SCORE, payload)


def properties(request: Request) -> dict[str, JsonValue]:
    return json.loads(request.body)["properties"]


def test_it_stands_behind_both_interfaces() -> None:
    protocol: DeploymentProtocol = batch()
    assert isinstance(protocol, LongRunning)
    assert protocol.tasks == {Task.SCORE}


def test_a_submission_names_the_job_the_files_and_the_literals() -> None:
    payload = {
        "inputs": {
            "data": FOLDER,
            "table": {"type": "mltable", "path": "azureml:t@latest"},
            "mode": "append",
            "threshold": 0.5,
            "strict": True,
        },
        "outputs": {"score": {"type": "uri_file", "path": "azureml://datastores/out/paths/x.csv"}},
    }
    request = batch(deployment="blue").submit(call(payload), "sluice-1")
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.headers["azureml-model-deployment"] == "blue"
    assert properties(request) == {
        "name": "sluice-1",
        "InputData": {
            "data": {"JobInputType": "UriFolder", "Uri": FOLDER["path"]},
            "table": {"JobInputType": "MLTable", "Uri": "azureml:t@latest"},
            "mode": {"JobInputType": "Literal", "Value": "append"},
            "threshold": {"JobInputType": "Literal", "Value": 0.5},
            "strict": {"JobInputType": "Literal", "Value": True},
        },
        "OutputData": {
            "score": {"JobOutputType": "UriFile", "Uri": "azureml://datastores/out/paths/x.csv"}
        },
    }


def test_the_same_name_is_submitted_under_the_same_repeatability_id() -> None:
    ids = [
        batch().submit(call({"inputs": {}}), name).headers[REPEATABILITY]
        for name in ("sluice-1", "sluice-1", "sluice-2")
    ]
    assert ids[0] == ids[1] != ids[2]


def test_without_a_name_of_ours_the_service_chooses_one() -> None:
    request = batch().request(call({"inputs": {"data": FOLDER}}))
    assert properties(request).keys() == {"InputData"}


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([], "payload"),
        (None, "payload"),
        ({"inputs": {}, "more": {}}, "payload"),
        ({"inputs": []}, "payload.inputs"),
        ({"outputs": "there"}, "payload.outputs"),
        ({"inputs": {"data": None}}, "payload.inputs.data"),
        ({"inputs": {"data": ["azureml://a"]}}, "payload.inputs.data"),
        ({"inputs": {"data": {"path": "azureml://a"}}}, "payload.inputs.data"),
        ({"inputs": {"data": {"type": "folder", "path": "a"}}}, "payload.inputs.data"),
        ({"inputs": {"data": {**FOLDER, "mode": "x"}}}, "payload.inputs.data"),
        ({"inputs": {"data": {**FOLDER, "path": 1}}}, "payload.inputs.data"),
        ({"outputs": {"score": "literal"}}, "payload.outputs.score"),
    ],
)
def test_a_payload_of_another_shape_is_refused_by_its_field(payload: JsonValue, field: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        batch().submit(call(payload), "sluice-1")
    assert [problem.field for problem in raised.value.problems] == [field]


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_literal_that_json_lacks_is_refused(number: float) -> None:
    with pytest.raises(InvalidRequest):
        batch().submit(call({"inputs": {"x": number}}), "sluice-1")


PREFIX = "azureml://datastores/in/paths/"


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        (PREFIX, True),
        (f"{PREFIX}march/a.csv", True),
        (f"{PREFIX}a..b/..c", True),
        ("azureml://datastores/secret/paths/a", False),
        ("azureml://datastores/in/pathsx/a", False),
        (f"{PREFIX}../../secret", False),
        (f"{PREFIX}a/..", False),
        (f"{PREFIX}%2e%2E/x", False),
        (f"{PREFIX}a%2F..%2fx", False),
        (f"{PREFIX}a\\..\\x", False),
    ],
)
@pytest.mark.parametrize("side", ["inputs", "outputs"])
def test_with_paths_a_payload_reaches_no_other(path: str, allowed: bool, side: str) -> None:
    protocol = batch(paths=[PREFIX])
    payload: JsonValue = {side: {"data": {"type": "uri_file", "path": path}}}
    if allowed:
        assert protocol.submit(call(payload), "sluice-1").body
        return
    with pytest.raises(InvalidRequest) as raised:
        protocol.submit(call(payload), "sluice-1")
    assert [problem.field for problem in raised.value.problems] == [f"payload.{side}.data.path"]


@pytest.mark.parametrize(
    ("taken", "name"),
    [
        ({"name": "sluice-1"}, "sluice-1"),
        ({"id": "/subscriptions/s/…/jobs/abc_1"}, "abc_1"),
        ({"name": None, "id": "/x/jobs/abc"}, "abc"),
        ({"name": "../secret", "id": "/jobs/abc"}, "abc"),
    ],
)
def test_the_service_tells_under_which_name_it_took_a_job(taken: JsonValue, name: str) -> None:
    assert batch().handle(reply(201, taken)) == name


@pytest.mark.parametrize("taken", [{}, [], None, {"name": "a/b"}, {"name": "a?b", "id": "x/"}])
def test_what_could_lead_elsewhere_is_no_name(taken: JsonValue) -> None:
    with pytest.raises(NotJson):
        batch().handle(reply(201, taken))


def test_a_look_is_a_get_below_the_url() -> None:
    request = batch(url=f"{URL}/").poll("sluice-1")
    assert (request.method, str(request.url), request.body) == ("GET", f"{URL}/sluice-1", b"")


@pytest.mark.parametrize(
    ("status", "progress"),
    [
        ("NotStarted", Working()),
        ("Queued", Working()),
        ("Running", Working()),
        ("CancelRequested", Working()),
        ("SomethingNew", Working()),
        ("Failed", Broken("the batch job failed")),
        ("Canceled", Broken("the batch job was cancelled", cancelled=True)),
    ],
)
def test_progress(status: str, progress: object) -> None:
    assert batch().progress(reply(200, job("n", status))) == progress


def test_the_answer_is_where_the_outputs_are() -> None:
    assert batch().progress(reply(200, job("n", "Completed"))) == Ended(
        {
            "job": "n",
            "status": "Completed",
            "outputs": {"score": "azureml://out/n/predictions.csv"},
        }
    )
    bare = {"name": "n", "properties": {"status": "Completed"}}
    assert batch().progress(reply(200, bare)) == Ended(
        {"job": "n", "status": "Completed", "outputs": {}}
    )


@pytest.mark.parametrize(
    "told", [None, [], {}, {"properties": []}, {"properties": {}}, {"properties": {"status": 3}}]
)
def test_what_tells_no_status_is_not_read(told: JsonValue) -> None:
    with pytest.raises(NotJson):
        batch().progress(reply(200, told))


def test_cancelling_goes_to_resource_manager_for_the_workspace_of_the_settings() -> None:
    protocol = batch(workspace=WORKSPACE)
    request = protocol.cancel("sluice-1")
    assert request is not None
    assert request.method == "POST"
    assert str(request.url) == (
        f"https://management.azure.com{WORKSPACE}/jobs/sluice-1/cancel?api-version=2024-10-01"
    )
    assert protocol.cancel_scope == "https://management.azure.com/.default"
    assert batch().cancel("sluice-1") is None


IDENTITY = {"managed_identity": "https://ml.azure.com/.default"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"url": "https://churn.westeurope.inference.ml.azure.com/score"}, "ends in /jobs"),
        ({"auth": {"key": "k"}}, "batch endpoints take no keys"),
        ({"paths": ["azureml://datastores/in"]}, "pattern"),
        ({"paths": []}, "at least 1"),
        ({"workspace": "my-workspace"}, "pattern"),
        ({"workspace": f"{WORKSPACE}/jobs/x"}, "pattern"),
        ({"management_url": "https://management.azure.com/"}, "pattern"),
        ({"check_seconds": 0}, "greater"),
        ({"longest_hours": 10_000}, "less"),
    ],
)
def test_settings_that_cannot_work_are_refused(fields: dict[str, object], expected: str) -> None:
    with pytest.raises(ValidationError, match=expected):
        settings(**{"auth": IDENTITY, **fields})
