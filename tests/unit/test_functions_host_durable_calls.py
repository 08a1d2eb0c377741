"""Work items through the sample app's functions, as messages, without a hub."""

from __future__ import annotations

import json
import logging

import pytest
from azure.durable_functions import DurableFunctionsClient
from durabletask.internal import helpers
from durabletask.internal import orchestrator_service_pb2 as pb
from google.protobuf.wrappers_pb2 import StringValue

from devhost.functions_host.durable_binding import client_binding
from devhost.functions_host.durable_calls import DurableCalls, failure_details
from devhost.functions_host.host_json import DurableConfig
from tests.unit.functions_host_fakes import SAMPLE, invoker, loaded

# The vendor's codec says this once a process, of each activity input.
pytestmark = pytest.mark.filterwarnings("ignore:azure.functions df_loads:DeprecationWarning")


@pytest.fixture(scope="module")
def calls():
    with loaded(SAMPLE) as functions:
        yield DurableCalls(functions, invoker())


def activity(name: str, value: object = None) -> pb.ActivityRequest:
    request = pb.ActivityRequest(name=name, taskId=7)
    request.orchestrationInstance.instanceId = "i"
    if value is not None:
        request.input.value = json.dumps(value)
    return request


def orchestration(name: str, value: object) -> pb.OrchestratorRequest:
    started = helpers.new_execution_started_event(name, "i", json.dumps(value))
    return pb.OrchestratorRequest(
        instanceId="i", newEvents=[helpers.new_orchestrator_started_event(), started]
    )


def operation(entity: str, name: str, value: object = None) -> pb.EntityBatchRequest:
    return pb.EntityBatchRequest(
        instanceId=f"@{entity}@key",
        entityState=StringValue(value="5"),
        operations=[
            pb.OperationRequest(
                operation=name,
                requestId="r",
                input=None if value is None else StringValue(value=json.dumps(value)),
            )
        ],
    )


@pytest.mark.parametrize("name", ["double", "DOUBLE"])
async def test_an_activity_takes_and_gives_json(calls, name):
    response = await calls.act(activity(name, 21))
    assert (response.instanceId, response.taskId) == ("i", 7)
    assert response.result.value == "42"
    assert not response.HasField("failureDetails")


async def test_an_activity_that_raises_is_answered_with_the_failure_and_logged_once(calls, caplog):
    response = await calls.act(activity("fail", "no luck"))
    details = response.failureDetails
    assert (details.errorType, details.errorMessage) == ("ValueError", "no luck")
    assert "in fail" in details.stackTrace.value
    assert not response.HasField("result")
    assert caplog.text.count("ValueError: no luck") == 1


async def test_an_activity_without_input_is_given_none(calls):
    response = await calls.act(activity("fail"))
    assert response.failureDetails.errorMessage == "None"


async def test_an_activity_that_the_app_does_not_have_fails(calls):
    response = await calls.act(activity("nowhere", 1))
    assert response.failureDetails.errorType == "UnknownFunctionError"
    assert "no activityTrigger function 'nowhere'" in response.failureDetails.errorMessage


async def test_a_result_that_is_no_json_fails_the_activity(calls, caplog):
    response = await calls.act(activity("double", [object.__name__]))
    assert response.result.value == '["object", "object"]'
    response = await calls.act(activity("double", {"a": 1}))
    assert response.failureDetails.errorType == "TypeError"


async def test_an_orchestration_turn_gives_its_next_actions(calls):
    response = await calls.orchestrate(orchestration("fan", 3))
    assert [action.scheduleTask.name for action in response.actions] == ["double"] * 3
    assert [action.scheduleTask.input.value for action in response.actions] == ["0", "1", "2"]


async def test_an_orchestrator_that_the_app_does_not_have_fails_the_instance(calls):
    response = await calls.orchestrate(orchestration("nobody", 1))
    ended = response.actions[0].completeOrchestration
    assert ended.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
    assert "nobody" in ended.failureDetails.errorMessage


async def test_a_history_without_a_start_fails_the_instance(calls):
    response = await calls.orchestrate(pb.OrchestratorRequest(instanceId="i"))
    ended = response.actions[0].completeOrchestration
    assert ended.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED


async def test_an_orchestrator_that_raises_is_logged_once(calls, caplog):
    with caplog.at_level(logging.ERROR, "sluice.functions_host"):
        response = await calls.orchestrate(orchestration("fan", "three"))
    assert response.actions[0].completeOrchestration.failureDetails.errorType
    records = [r for r in caplog.records if r.name == "sluice.functions_host"]
    assert len(records) == 1
    assert records[0].getMessage().startswith("Orchestration i failed: ")


async def test_an_entity_batch_changes_the_state(calls):
    result = await calls.operate(operation("counter", "add", 2))
    assert result.entityState.value == "7"
    assert result.results[0].HasField("success")


async def test_an_entity_that_the_app_does_not_have_keeps_its_state(calls):
    result = await calls.operate(operation("ghost", "add", 2))
    assert result.entityState.value == "5"
    assert result.results[0].failure.failureDetails.errorType == "UnknownFunctionError"


def test_a_failure_always_has_a_message():
    assert failure_details(ValueError()).errorMessage == "ValueError"


# The durable client binding


def binding(**config) -> str:
    return client_binding("127.0.0.1:5", "http://localhost:7071", "k&y", DurableConfig(**config))


async def test_the_vendors_client_understands_the_binding():
    client = DurableFunctionsClient(binding(hub_name="H", max_message_bytes=9))
    assert (client.taskHubName, client.connectionName) == ("H", "AzureWebJobsStorage")
    assert client.rpcBaseUrl == "http://127.0.0.1:5"
    assert client.maxGrpcMessageSizeInBytes == 9
    links = client.create_http_management_payload("a/b")
    assert links["statusQueryGetUri"] == (
        "http://localhost:7071/runtime/webhooks/durabletask/instances/a%2Fb"
        "?taskHub=H&connection=AzureWebJobsStorage&code=k%26y"
    )
    assert "INSTANCEID" not in str(links)
    await client.close()


def test_without_keys_the_urls_carry_none():
    text = client_binding("127.0.0.1:5", "http://localhost:7071", None, DurableConfig())
    assert "code=" not in text
    assert json.loads(text)["maxGrpcMessageSizeInBytes"] == 0
